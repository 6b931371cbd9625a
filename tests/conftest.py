"""Shared by the tests: one thread, the tiny embedded corpus, a tiny separator."""

import sys
from pathlib import Path

import pytest
import soundfile
import torch
from speechbrain.utils.importutils import LazyModule

from sb_ext.contracts import MixtureBatch
from sb_ext.filterbanks import Stft
from sb_ext.networks import TemporalConvNet
from sb_ext.separators import SpectralMasking

torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems():
    """Hypothesis asks every module for its file; SpeechBrain's lazy ones would import k2 and the like, and fail."""
    for module in list(sys.modules.values()):
        if isinstance(module, LazyModule):
            module.__dict__.setdefault("__file__", None)


@pytest.fixture(autouse=True)
def _seed():
    """A test draws the same whatever ran before it, so that one that fails can be run again by itself."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def recipes_folder():
    """The recipes of this checkout."""
    return Path(__file__).resolve().parents[1] / "recipes"


@pytest.fixture(scope="session")
def corpora(tmp_path_factory):
    """A folder where embedded corpora are made once a test session; $SB_EXT_CORPORA points there."""
    folder = tmp_path_factory.mktemp("corpora")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SB_EXT_CORPORA", str(folder))
        yield folder


@pytest.fixture
def tiny_separator():
    """Makes the MixCycle paper's model in small: ``tiny_separator(num_outputs)``."""

    def make(num_outputs=2, seed=0):
        torch.manual_seed(seed)
        network = TemporalConvNet(33, num_outputs, bottleneck=8, hidden=16, num_layers=2, num_stacks=1)
        return SpectralMasking(Stft(64, 16), network)

    return make


@pytest.fixture
def make_batch():
    """Makes a MixtureBatch of noise with sources: ``make_batch(size, count, samples)``."""

    def make(size=4, count=2, samples=600, seed=0):
        sources = torch.randn(size, count, samples, generator=torch.Generator().manual_seed(seed))
        ids = [f"item{place}" for place in range(size)]
        return MixtureBatch(ids, sources.sum(1), sources, None, torch.full((size,), samples))

    return make


@pytest.fixture(scope="session")
def write_librimix():
    """Writes a split as LibriMix's script does: ``write_librimix(folder, "dev", [[source1, source2], …])``."""

    def write(root, split, mixtures):
        for place, sources in enumerate(mixtures):
            for part, signal in {"mix_clean": sum(sources), "s1": sources[0], "s2": sources[1]}.items():
                folder = Path(root, "Libri2Mix/wav8k/min", split, part)
                folder.mkdir(parents=True, exist_ok=True)
                soundfile.write(folder / f"{10 + place}-1-1_{30 + place}-1-1.wav", signal, 8000)

    return write
