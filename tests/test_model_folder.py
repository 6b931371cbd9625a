"""Model folders from elsewhere: nothing that they bring along runs, and what does not fit is named."""

import os
import pickle
from pathlib import Path

import pytest
import torch

from sb_ext.inference import SourceSeparation
from sb_ext.model_folder import load_weights, read_model

MODEL = """
sample_rate: 8000
separator: !new:torch.nn.Linear [2, 3]
modules: {separator: !ref <separator>}
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables: {separator: !ref <separator>}
"""


class Payload:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(MODEL)
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "separator.ckpt")
    return tmp_path


def load(folder, **options):
    return SourceSeparation.from_hparams(str(folder), run_opts={"device": "cpu"}, **options)


def test_the_plain_folder_loads(folder):
    expected = torch.load(folder / "separator.ckpt", weights_only=True)["weight"]
    assert torch.equal(load(folder).mods.separator.weight, expected)


@pytest.mark.parametrize("trust", [False, True])
def test_a_payload_in_the_weights_does_not_run(folder, trust, monkeypatch):
    planted = folder / "planted"
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    torch.save({"weight": Payload(planted)}, folder / "separator.ckpt")
    with pytest.raises(ValueError, match="separator.ckpt: is not loaded, since .* holds more than tensors"):
        load(folder, trust=trust)
    assert not planted.exists()
    # The payload is live: whoever unpickles it runs it.
    pickle.loads(pickle.dumps(Payload(planted)))
    assert planted.exists()


PAYLOADS = {
    "apply": "x: !apply:os.mkdir [PLANTED]",
    "apply at resolving": "x: !applyref:os.mkdir [PLANTED]",
    "python tag": "x: !!python/object/apply:os.mkdir [PLANTED]",
    "tag alias": "%TAG ! tag:yaml.org,2002:python/object/\n---\nx: !apply:os.mkdir [PLANTED]",
    "text in brackets": "x: (!!python/object/apply:os.mkdir ['PLANTED'])",
    "tuple": "x: !tuple (!!python/object/apply:os.mkdir ['PLANTED'])",
    "text by reference": "y: \"!!python/object/apply:os.mkdir ['PLANTED']\"\nx: !ref (<y>)",
    "include": "x: !include:other.yaml",
    "nested": "x: [{y: !new:torch.nn.ReLU {z: !apply:os.mkdir [PLANTED]}}]",
    "through a package": "x: !apply:torch.nn.modules.module.os.mkdir [PLANTED]",
    "a class through a package": "x: !new:sb_ext.atomic.tempfile.TemporaryDirectory {dir: FOLDER, prefix: planted}",
    "a layer through a package": "x: !new:torch.nn.modules.module.torch.jit.ScriptModule {}",
    "a class that is no layer": "x: !new:sb_ext.recorder.Recorder {}",
    "a function for later": "x: !name:os.mkdir",
    "a module": "x: !module:os",
    "an attribute": "x: !ref <separator.weight>",
}


@pytest.mark.parametrize("kind", PAYLOADS)
def test_yaml_that_runs_something_is_refused_by_name(folder, kind):
    planted = folder / "planted"
    payload = PAYLOADS[kind].replace("PLANTED", str(planted)).replace("FOLDER", str(folder))
    (folder / "other.yaml").write_text(f"z: !apply:os.mkdir [{planted}]")
    (folder / "hyperparams.yaml").write_text(payload + MODEL)
    with pytest.raises(ValueError, match=r"hyperparams.yaml: .* is refused, since it could run code; .*trust=True"):
        load(folder)
    assert not list(folder.glob("planted*"))


@pytest.mark.parametrize("kind", ["apply", "python tag", "text in brackets", "include"])
def test_what_is_refused_would_have_run(folder, kind):
    planted = folder / "planted"
    (folder / "other.yaml").write_text(f"z: !apply:os.mkdir [{planted}]")
    (folder / "hyperparams.yaml").write_text(PAYLOADS[kind].replace("PLANTED", str(planted)) + MODEL)
    load(folder, trust=True)
    assert planted.exists()


def test_an_override_is_checked_as_well(folder):
    planted = folder / "planted"
    with pytest.raises(ValueError, match="!apply:os.mkdir is refused"):
        load(folder, overrides=f"sample_rate: !apply:os.mkdir [{planted}]")
    assert not planted.exists()


def test_layers_of_all_three_packages_pass(folder):
    text = "a: !name:torch.nn.ReLU\nb: !new:sb_ext.filterbanks.Stft [64, 16]\nc: (3, 4)\nd: !ref <c>\n"
    (folder / "hyperparams.yaml").write_text(text + "e: !new:speechbrain.nnet.activations.Swish" + MODEL)
    hparams = read_model(folder / "hyperparams.yaml")
    assert hparams["a"] is torch.nn.ReLU
    assert hparams["c"] == (3, 4)
    assert [type(hparams[key]).__name__ for key in "be"] == ["Stft", "Swish"]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({"weight": torch.zeros(3, 2)}, 'Missing key.* "bias"'),
        ({**torch.nn.Linear(2, 3).state_dict(), "other": torch.zeros(1)}, 'Unexpected key.* "other"'),
        (torch.nn.Linear(4, 3).state_dict(), r"size mismatch for weight: .*\[3, 4\].*\[3, 2\]"),
    ],
)
def test_weights_that_do_not_fit_are_named(folder, state, words):
    torch.save(state, folder / "separator.ckpt")
    with pytest.raises(ValueError, match=f"separator.ckpt: does not fit the hyperparams.yaml beside it .*{words}"):
        load(folder)


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut"])
def test_damaged_weights_are_named(tmp_path, content):
    Path(tmp_path, "separator.ckpt").write_bytes(content)
    with pytest.raises(ValueError, match="separator.ckpt: is not loaded"):
        load_weights(torch.nn.Linear(2, 3), tmp_path / "separator.ckpt")


def test_a_file_of_something_else_is_named(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "separator.ckpt")
    with pytest.raises(ValueError, match="separator.ckpt: expected names and tensors"):
        load_weights(torch.nn.Linear(2, 3), tmp_path / "separator.ckpt")
    with pytest.raises(FileNotFoundError):
        load_weights(torch.nn.Linear(2, 3), tmp_path / "absent.ckpt")


@pytest.mark.parametrize("key", ["sample_rate", "modules", "pretrainer"])
def test_a_yaml_without_what_a_model_needs_is_named(folder, key):
    lines = [line for line in MODEL.splitlines() if not line.startswith(key)]
    lines = [line for line in lines if key != "pretrainer" or "loadables" not in line]
    (folder / "hyperparams.yaml").write_text("\n".join(lines))
    with pytest.raises(ValueError, match=f"hyperparams.yaml: holds no {key}"):
        load(folder)


def test_a_broken_yaml_is_named(folder):
    (folder / "hyperparams.yaml").write_text("a: [1, 2")
    with pytest.raises(ValueError, match="hyperparams.yaml: is no YAML"):
        load(folder)
