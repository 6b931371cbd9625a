"""Audio files that a table names: checked at once, read piece by piece."""

import os

import numpy as np

from sb_ext.data.audio_files import AudioHeader, check_folder, read_header, read_samples, resampled_length


class ListedAudio:
    """The files that some columns of the metadata name: where they lie and what their headers say.

    Arguments
    ---------
    key : str
        The recipe's name for the folder.
    folder : str or Path
    columns : FileColumns
        Which files, ``[N, C]``.
    metadata : Metadata
        Names its file in ``path`` and row i of the columns in ``ids``, for messages.
    sample_rate : int
        Hz, the lowest that a file may have.

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a file is missing, is no audio, holds no samples or has too low a rate.
    """

    def __init__(self, key, folder, columns, metadata, sample_rate):
        check_folder(key, folder, f"the files that {metadata.path} names")
        self.folder, self.files, self.which, self.gains = str(folder), columns.files, columns.which, columns.gains
        headers, missing = np.zeros((len(self.files), 3), np.int64), []
        for number in range(len(self.files)):
            try:
                headers[number] = read_header(self.path(number))
            except FileNotFoundError:
                missing.append(number)
        if missing:
            row = int(np.argwhere(self.which == missing[0])[0, 0])
            raise ValueError(
                f"{metadata.path}: {len(missing)} of the {len(headers)} files that it names are missing, first "
                f"{', '.join(map(self.path, missing[:3]))}; mixture {metadata.ids[row]} needs the first. "
                f"Set {key} to the folder that holds them, or delete their lines"
            )
        self.headers = headers
        self._check_headers(sample_rate)

    def _check_headers(self, sample_rate):
        """Raise ValueError for a file without samples, and for one whose rate holds less than is asked for."""
        for number in np.flatnonzero((self.headers[:, 0] == 0) | (self.headers[:, 1] < sample_rate)).tolist():
            frames, rate, _ = self.headers[number].tolist()
            if frames == 0:
                raise ValueError(f"{self.path(number)}: holds no samples; replace the file")
            raise ValueError(
                f"{self.path(number)}: is at {rate} Hz, which cannot give {sample_rate} Hz; "
                f"set sample_rate to {rate}, or take the recordings at {sample_rate} Hz or more"
            )

    def check_mono(self):
        """Raise ValueError for a file with more than one channel."""
        channels = self.headers[:, 2]
        if (channels != 1).any():
            first = int(np.argmax(channels != 1))
            raise ValueError(
                f"{self.path(first)}: expected speech in 1 channel, found {channels[first]}; replace the file"
            )

    def resampled_lengths(self, sample_rate):
        """How many samples each file gives at a rate in Hz, ``[N, C]``."""
        return resampled_length(self.column("frames"), self.column("sample_rate"), sample_rate)

    def path(self, number):
        """Where a file lies."""
        return os.path.join(self.folder, self.files[number])

    def column(self, name):
        """One field of the headers, ``[N, C]``."""
        return self.headers[:, AudioHeader._fields.index(name)][self.which]

    def reader(self, row, column, channel=0):
        """``read(first, last) -> [T]`` for one channel of one file, and the file's header."""
        number = int(self.which[row, column])
        path, header = self.path(number), AudioHeader(*self.headers[number].tolist())
        return (lambda first, last: read_samples(path, header, first, last)[:, channel]), header
