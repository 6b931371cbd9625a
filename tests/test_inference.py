"""Using trained models: from an output folder, a model folder, and SpeechBrain's own kind of folder."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from sb_ext.evaluation import self_evaluate
from sb_ext.inference import SourceSeparation, load_separator
from sb_ext.separate import main as separate_command

MODEL = """
sample_rate: 8000
num_outputs: 2
separator:
    model: !new:sb_ext.separators.SpectralMasking
        filterbank: !new:sb_ext.filterbanks.Stft
            window_size: 64
            hop_size: 16
        network: !new:sb_ext.networks.TemporalConvNet
            num_inputs: 33
            num_outputs: 2
            bottleneck: 8
            hidden: 16
            num_layers: 2
            num_stacks: 1
modules:
    separator: !ref <separator[model]>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        separator: !ref <separator[model]>
"""

SEPFORMER = """
sample_rate: 8000
num_spks: 2
encoder: !new:speechbrain.lobes.models.dual_path.Encoder
    kernel_size: 16
    out_channels: 8
masknet: !new:speechbrain.lobes.models.conv_tasnet.MaskNet
    N: 8
    B: 8
    H: 8
    P: 3
    X: 1
    R: 1
    C: 2
decoder: !new:speechbrain.lobes.models.dual_path.Decoder
    in_channels: 8
    out_channels: 1
    kernel_size: 16
    stride: 8
    bias: False
modules:
    encoder: !ref <encoder>
    masknet: !ref <masknet>
    decoder: !ref <decoder>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        encoder: !ref <encoder>
        decoder: !ref <decoder>
"""


@pytest.fixture
def model_folder(tmp_path, tiny_separator):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(MODEL)
    torch.save(tiny_separator(2).state_dict(), folder / "separator.ckpt")
    return folder


def test_a_model_folder_gives_the_trained_weights(model_folder, tiny_separator):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    mixture = torch.randn(3, 2000)
    expected = tiny_separator(2).eval()(mixture).sources.transpose(1, 2)
    assert torch.equal(model.separate_batch(mixture), expected)
    assert not any(parameter.requires_grad for parameter in model.mods.parameters())


@pytest.mark.parametrize(("rate", "channels", "suffix"), [(8000, 1, "wav"), (16000, 2, "flac"), (44100, 1, "wav")])
def test_files_of_any_rate_and_channels_are_separated(model_folder, tmp_path, rate, channels, suffix):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    path = tmp_path / f"meeting.{suffix}"
    soundfile.write(path, 0.1 * np.random.default_rng(0).standard_normal((rate, channels)), rate)
    sources = model.separate_file(str(path))
    assert sources.shape[::2] == (1, 2)
    assert abs(sources.shape[1] - 8000) <= 1
    assert torch.isfinite(sources).all()


@pytest.mark.parametrize("samples", [1, 31, 63])
def test_a_file_shorter_than_a_frame_is_separated(model_folder, tmp_path, samples):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    wave = 0.1 * np.random.default_rng(0).standard_normal(samples).astype(np.float32)
    soundfile.write(tmp_path / "click.wav", wave, 8000, subtype="FLOAT")
    sources = model.separate_file(tmp_path / "click.wav")
    assert sources.shape == (1, samples, 2)
    assert torch.allclose(sources.sum(-1)[0], torch.from_numpy(wave), atol=1e-5)


def test_silence_stays_silent(model_folder):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    assert model.separate_batch(torch.zeros(2, 800)).abs().max() == 0


def test_samples_that_are_no_numbers_are_refused(model_folder, tmp_path):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    soundfile.write(tmp_path / "bad.wav", np.array([0.1, 0.2, np.nan]), 8000, subtype="FLOAT")
    with pytest.raises(ValueError, match="bad.wav: sample 2 is NaN or infinite"):
        model.separate_file(tmp_path / "bad.wav")
    with pytest.raises(ValueError, match="mix: holds NaN or infinite samples"):
        model.separate_batch(torch.tensor([[0.0, torch.inf]]))


def test_a_long_file_never_meets_the_separator_as_a_whole(model_folder, tmp_path):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    wave = 0.1 * np.random.default_rng(0).standard_normal(100_003).astype(np.float32)
    soundfile.write(tmp_path / "talk.wav", wave, 8000, subtype="FLOAT")
    lengths = []
    model.mods.separator.register_forward_pre_hook(lambda module, inputs: lengths.append(inputs[0].shape[-1]))
    whole = model.separate_file(tmp_path / "talk.wav")
    assert lengths == [100_003]
    sources = model.separate_file(tmp_path / "talk.wav", chunk_seconds=1, overlap_seconds=0.25)
    assert max(lengths[1:]) == 8000
    assert torch.allclose(sources.sum(-1)[0], torch.from_numpy(wave), atol=1e-5)
    assert (sources - whole).square().mean() < 0.1 * whole.square().mean()
    paths = model.separate_to_files(tmp_path / "talk.wav", tmp_path / "out", chunk_seconds=1, overlap_seconds=0.25)
    assert [path.name for path in paths] == ["talk_s1.wav", "talk_s2.wav"]
    written = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths], -1)
    assert np.array_equal(written, sources[0].numpy())


def test_a_file_that_is_no_audio_is_named(model_folder, tmp_path):
    model = SourceSeparation.from_hparams(str(model_folder), run_opts={"device": "cpu"})
    path = tmp_path / "notes.wav"
    path.write_text("not audio")
    with pytest.raises(ValueError, match="notes.wav: cannot be read as audio"):
        model.separate_file(str(path))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 8000)
    with pytest.raises(ValueError, match="empty.wav: holds no samples"):
        model.separate_file(str(tmp_path / "empty.wav"))
    with pytest.raises(FileNotFoundError, match="absent.wav"):
        model.separate_file(str(tmp_path / "absent.wav"))


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="holds no hyperparams.yaml"):
        SourceSeparation.from_hparams(str(tmp_path))


@pytest.fixture
def sepformer_folder(tmp_path):
    """A folder as SpeechBrain's SepformerSeparation takes it, tiny, with random weights."""
    from hyperpyyaml import load_hyperpyyaml

    folder = tmp_path / "sepformer"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(SEPFORMER)
    modules = load_hyperpyyaml(SEPFORMER)
    for name in ("encoder", "decoder"):
        torch.save(modules[name].state_dict(), folder / f"{name}.ckpt")
    return folder


def test_speechbrains_own_models_load_and_survive_silence(sepformer_folder):
    separate, rate = load_separator(str(sepformer_folder), "cpu")
    assert rate == 8000
    assert separate(torch.randn(2, 1600)).shape == (2, 2, 1600)
    assert torch.isfinite(separate(torch.zeros(1, 1600))).all()
    assert separate(torch.randn(1, 3)).shape == (1, 2, 3)


def test_the_command_separates_with_speechbrains_own_models(sepformer_folder, recordings, tmp_path):
    assert separate_command([str(sepformer_folder), str(recordings), "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").iterdir())) == 10


ESTIMATOR = """
sample_rate: 8000
snrmax: 10
snrmin: 0
encoder: !new:torch.nn.Conv1d
    in_channels: 2
    out_channels: 4
    kernel_size: 16
    stride: 8
linear: !new:torch.nn.Linear
    in_features: 8
    out_features: 1
encoder_out: !new:torch.nn.Sequential
    - !ref <linear>
    - !new:torch.nn.Sigmoid
stat_pooling: !new:speechbrain.nnet.pooling.StatisticsPooling
modules:
    encoder: !ref <encoder>
    encoder_out: !ref <encoder_out>
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        encoder: !ref <encoder>
        encoder_out: !ref <encoder_out>
"""


@pytest.fixture
def estimator_folder(tmp_path):
    """A folder as SpeechBrain's SNREstimator takes it, tiny, with random weights."""
    from hyperpyyaml import load_hyperpyyaml

    folder = tmp_path / "estimator"
    folder.mkdir()
    (folder / "hyperparams.yaml").write_text(ESTIMATOR)
    modules = load_hyperpyyaml(ESTIMATOR)
    for name in ("encoder", "encoder_out"):
        torch.save(modules[name].state_dict(), folder / f"{name}.ckpt")
    return folder


def test_speechbrains_snr_estimator_is_a_third_figure(model_folder, estimator_folder, recordings, tmp_path, capsys):
    words = [str(model_folder), str(recordings), "--repeats", "1", "--device", "cpu", "--out", str(tmp_path / "out")]
    result = self_evaluate.main([*words, "--snr_estimator", str(estimator_folder)])
    assert 0 <= result.summary["neural_snr"] <= 10
    assert "SNREstimator: " in capsys.readouterr().out


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "recordings"
    folder.mkdir()
    for place in range(5):
        wave = 0.1 * np.random.default_rng(place).standard_normal(6000 + 100 * place)
        soundfile.write(folder / f"take{place}.wav", wave, 8000)
    return folder


@pytest.mark.parametrize("kind", ["model_folder", "sepformer_folder"])
def test_the_command_self_evaluates_any_model_on_any_folder(kind, recordings, tmp_path, request, capsys):
    out = tmp_path / "out"
    model = str(request.getfixturevalue(kind))
    words = [model, str(recordings), "--repeats", "2", "--segment_seconds", "0.5", "--device", "cpu", "--out", str(out)]
    self_evaluate.main(words)
    summary = json.loads((out / "self_evaluation.json").read_text())
    assert summary["recordings"] == 5
    assert len((out / "self_evaluation.csv").read_text().splitlines()) == 6
    assert "verdict: " in capsys.readouterr().out


def test_the_command_names_a_missing_folder(model_folder, tmp_path):
    with pytest.raises(SystemExit, match="nowhere: no such folder"):
        self_evaluate.main([str(model_folder), str(tmp_path / "nowhere")])


def test_the_commands_help_is_there(capsys):
    with pytest.raises(SystemExit):
        self_evaluate.main(["--help"])
    assert "SI-SNR improvement" in capsys.readouterr().out


def test_the_stand_in_gives_the_truth_beside_the_figure(model_folder, tmp_path):
    from sb_ext.data.realm_standin import make_realm_standin

    folder = make_realm_standin(tmp_path / "standin", num_mixtures=24, num_early=2)
    out = tmp_path / "out"
    result = self_evaluate.main(
        [str(model_folder), str(folder), "--repeats", "2", "--device", "cpu", "--out", str(out)]
    )
    assert "ground_truth" in result.summary
    names = {Path(line.split(",")[0]).name for line in (out / "self_evaluation.csv").read_text().splitlines()[1:]}
    assert names
    assert not any(name.startswith("early") for name in names)


class Counting(torch.nn.Module):
    """Counts as many speakers as the loudest sample says."""

    chooses_count = True

    def forward(self, mixture, *, num_sources=None):
        count = int(mixture.max().round()) if num_sources is None else num_sources
        return SimpleNamespace(sources=mixture.unsqueeze(1).expand(-1, count, -1) / count)


def test_the_speakers_of_a_long_file_are_counted_once_for_all_chunks(tmp_path):
    mixture = torch.ones(8000)
    mixture[5000:] = 3
    soundfile.write(tmp_path / "talk.wav", mixture.numpy(), 1000, "FLOAT")
    model = SourceSeparation({"separator": Counting()}, {"sample_rate": 1000}, {"device": "cpu"})
    sources = model.separate_file(tmp_path / "talk.wav", 1.0, 0.2)
    assert sources.shape == (1, 8000, 3)
    torch.testing.assert_close(sources.sum(-1)[0], mixture)
    assert model.separate_file(tmp_path / "talk.wav", 1.0, 0.2, num_sources=2).shape == (1, 8000, 2)
    assert model.separate_batch(mixture[None], num_sources=5).shape == (1, 8000, 5)
