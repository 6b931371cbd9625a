"""LibriMix made while it is read: LibriSpeech and the public metadata instead of hundreds of generated gigabytes.

Sample for sample what the public script writes, as 16-bit PCM: gain times float32 speech, ``resample_poly``, cut or
padded, summed in float32, converted as libsndfile converts.
"""

import numpy as np

from sb_ext.data.audio_files import resampled_length, resampled_slice
from sb_ext.data.librimix_generated import check_settings, count_sources
from sb_ext.data.librimix_metadata import read_metadata
from sb_ext.data.librimix_noise import extend_noise, shortest_extendable
from sb_ext.data.listed_audio import ListedAudio
from sb_ext.data.pcm16 import from_pcm16, to_pcm16
from sb_ext.data.store import MixtureStore


class OnTheFlyLibriMix(MixtureStore):
    """One split of LibriMix, mixed when it is read, sorted by id as the generated folder is.

    A crop decodes and resamples only what it depends on. Files may have any rate from ``sample_rate`` on: where speech
    is not at 16 kHz, as the script takes for granted, its own rate counts. The headers of all files are read at once;
    a FLAC file that was cut, or float samples that are not finite, are found when they are read: before training where
    the split is packed.

    Arguments
    ---------
    librispeech_folder : str or Path
        What the ``source_*_path`` columns are relative to.
    metadata_csv : str or Path
        The public metadata of the split, such as ``libri2mix_train-clean-360.csv``.
    num_speakers : int
    sample_rate : int
        Hz.
    mode : str
        ``min``: cut to the shortest source; ``max``: padded to the longest.
    mixture_type : str
        ``mix_clean``, ``mix_both`` (with noise) or ``mix_single`` (first speaker with noise, one reference).
    noise_folder : str or Path, optional
        What ``noise_path`` is relative to. ``mix_clean`` never looks at noise.

    Raises
    ------
    ValueError
        If the metadata is faulty, or a file that it names is missing, no audio, or unusable.
    """

    def __init__(
        self, librispeech_folder, metadata_csv, num_speakers=2, sample_rate=8000, mode="min",
        mixture_type="mix_clean", noise_folder=None,
    ):  # fmt: skip
        check_settings(num_speakers, mode, mixture_type)
        with_noise = mixture_type != "mix_clean"
        if with_noise and not noise_folder:
            raise ValueError(
                f"noise_folder: mixture_type {mixture_type} needs the folder of WHAM's noise; received none"
            )
        metadata = read_metadata(metadata_csv, num_speakers, with_noise)
        self.speech = ListedAudio("librispeech_folder", librispeech_folder, metadata.sources, metadata, sample_rate)
        self.speech.check_mono()
        resampled = self.speech.resampled_lengths(sample_rate)
        lengths = resampled.min(axis=1) if mode == "min" else resampled.max(axis=1)
        num_sources = count_sources(num_speakers, mixture_type)
        super().__init__(metadata.ids, lengths, metadata.speakers[:, :num_sources].copy(), sample_rate, num_sources)
        self.noise = None
        if with_noise:
            self.noise = ListedAudio("noise_folder", noise_folder, metadata.noise, metadata, sample_rate)
            self._prepare_noise()

    def _prepare_noise(self):
        rates = self.noise.column("sample_rate")
        # The script takes as much noise as the longest speech has samples, before resampling: that is where it ends.
        speech = self.speech
        self.noise_needed = resampled_length(speech.column("frames"), speech.column("sample_rate"), rates).max(axis=1)
        frames, rates = self.noise.column("frames")[:, 0], rates[:, 0]
        hopeless = np.flatnonzero((frames < self.noise_needed) & (frames < shortest_extendable(rates)))
        if hopeless.size:
            row = int(hopeless[0])
            raise ValueError(
                f"{self.noise.path(int(self.noise.which[row, 0]))}: {frames[row]} samples of noise for mixture "
                f"{self.ids[row]} cannot be extended to {self.noise_needed[row]}; replace it by one of at least "
                f"{shortest_extendable(rates[row])}"
            )

    def _read(self, index, start, stop):
        voices = [self._voice(index, column, start, stop) for column in range(self.num_sources)]
        mixture = np.zeros(stop - start, np.float32)
        for voice in voices:
            mixture += voice
        if self.noise:
            # Extended noise is float64: in place, the sum is taken in float64 and rounded to float32, as in the script.
            mixture += self._noise(index, start, stop)
        sources = np.stack([from_pcm16(to_pcm16(voice)) for voice in voices])
        return from_pcm16(to_pcm16(mixture)), sources

    def _voice(self, index, column, start, stop):
        read, header = self.speech.reader(index, column)
        gain = float(self.speech.gains[index, column])
        whole = resampled_length(header.frames, header.sample_rate, self.sample_rate)
        voice = self._resampled(read, gain, header.frames, header.sample_rate, min(start, whole), min(stop, whole))
        return np.pad(voice, (0, stop - start - len(voice)))

    def _noise(self, index, start, stop):
        read, header = self.noise.reader(index, 0)
        needed, gain = int(self.noise_needed[index]), float(self.noise.gains[index, 0])
        if header.frames < needed:
            extended = extend_noise(read(0, header.frames), needed, header.sample_rate)
            return self._resampled(lambda a, b: extended[a:b], gain, needed, header.sample_rate, start, stop)
        return self._resampled(read, gain, needed, header.sample_rate, start, stop)

    def _resampled(self, read, gain, frames, rate, start, stop):
        # A Python float as gain keeps float32; a NumPy float64 would not.
        return resampled_slice(lambda a, b: read(a, b) * gain, frames, rate, self.sample_rate, start, stop)
