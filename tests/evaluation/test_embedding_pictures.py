"""Attractors and embeddings that are kept for the report, and the report's pictures of them."""

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from sb_ext.clustering import KMeans
from sb_ext.contracts import AttractorSeparation, MixtureBatch
from sb_ext.evaluation.embedding_pictures import FEW, EmbeddingPictures, neighbour_map, principal_axes
from sb_ext.evaluation.report import write_report
from sb_ext.filterbanks import Stft
from sb_ext.networks import TemporalConvNet
from sb_ext.separators import AttractorMasking, attractors, similarities, weighting
from sb_ext.separators.embeddings import Embeddings

FILE = "embedding_pictures.npz"


def batch_of(lengths=(700, 500), count=2, speakers=True, seed=0):
    """Noise, padded."""
    torch.manual_seed(seed)
    sources = torch.randn(len(lengths), count, max(lengths))
    for row, length in enumerate(lengths):
        sources[row, :, length:] = 0
    numbers = torch.arange(len(lengths) * count).view(-1, count) if speakers else None
    ids = [f"mix{seed}_{row}" for row in range(len(lengths))]
    return MixtureBatch(ids, sources.sum(1), sources, numbers, torch.tensor(lengths))


def masking(inference="spherical"):
    """An attractor model in small."""
    torch.manual_seed(0)
    network = TemporalConvNet(17, 4, 8, 16, num_layers=1, num_stacks=1, activation=torch.nn.Identity)
    choices = {
        "ideal": attractors.IdealAttractors(),
        "euclidean": attractors.KMeansAttractors(KMeans()),
        "spherical": attractors.KMeansAttractors(KMeans(spherical=True)),
        "anchors": attractors.AnchorAttractors(4, 4),
    }
    parts = {"similarity": similarities.DotProduct(), "weighting": weighting.MagnitudePower()}
    return AttractorMasking(Stft(32, 16), network, choices, inference, **parts).eval()


class Backwards:
    """Gives the last source first, and to each an attractor that holds its mean square."""

    attractors, inference = {}, "told"

    def embed(self, mixture, oracle):
        assert mixture.shape[-1] == oracle.shape[-1]
        return SimpleNamespace(oracle=oracle, space=Embeddings(torch.randn(1, 5, 3)))

    def separate(self, embedded, name, num_sources):
        oracle = embedded.oracle
        assert num_sources == oracle.shape[1] and name == self.inference
        powers = oracle.square().mean(-1, keepdim=True).flip(1).expand(-1, -1, 3)
        points = {"space": embedded.space, "weights": torch.ones(1, 5)}
        points |= {"ideal": torch.rand(1, num_sources, 5), "mixture_magnitudes": torch.rand(1, 5)}
        return AttractorSeparation(oracle.flip(1), attractors=powers, **points)


def kept(folder, separator, batches, **options):
    """What a test writes; None for nothing."""
    hook = EmbeddingPictures(str(folder), separator, **options)
    hook.start("TEST")
    for batch in batches:
        hook.update(batch, None, None)
    assert hook.finish(None, "TEST") == {}
    return dict(np.load(folder / FILE)) if (folder / FILE).exists() else None


def test_each_attractor_is_that_of_its_speaker_and_padding_does_not_count(tmp_path):
    found = kept(tmp_path, Backwards(), [batch_of(), batch_of(count=3, seed=1)])
    assert found["speakers"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4, 5]
    assert found["ids"].tolist() == ["mix0_0"] * 2 + ["mix0_1"] * 2 + ["mix1_0"] * 3 + ["mix1_1"] * 3
    powers = [
        batch.sources[row, :, :length].square().mean(-1)
        for batch in (batch_of(), batch_of(count=3, seed=1))
        for row, length in enumerate(batch.lengths)
    ]
    np.testing.assert_allclose(found["attractors"], torch.cat(powers)[:, None].expand(-1, 3), rtol=1e-5)
    assert found["map"].shape == (10, 2) and found["choices"].tolist() == ["told"]


def test_what_cannot_be_told_is_passed_over(tmp_path):
    silent = batch_of()
    silent.sources[0, 1] = 0
    unknown, real = batch_of(speakers=False, seed=1), batch_of(seed=2)
    real.sources = None
    found = kept(tmp_path, Backwards(), [silent, real, unknown])
    assert found["ids"].tolist() == ["mix0_1"] * 2 + ["mix1_0"] * 2 + ["mix1_1"] * 2
    assert found["speakers"].tolist() == [2, 3, -1, -1, -1, -1] and found["map"].shape == (0, 2)
    assert kept(tmp_path / "none", Backwards(), [real]) is None


def test_no_more_attractors_than_asked_for(tmp_path):
    found = kept(tmp_path, Backwards(), [batch_of(seed=seed) for seed in range(4)], attractors=5)
    assert found["ids"].tolist() == ["mix0_0"] * 2 + ["mix0_1"] * 2


@pytest.mark.parametrize("inference", ["spherical", "anchors"])
def test_the_plane_is_that_of_an_svd(inference, tmp_path):
    separator, batch = masking(inference=inference), batch_of((900,), count=3)
    found = kept(tmp_path, separator, [batch], bins=200)
    names = ["ideal", "euclidean", "spherical"] + ["anchors"] * (inference == "anchors")
    assert found["choices"].tolist() == names
    with torch.no_grad():
        embedded = separator.embed(batch.mixture, batch.sources)
        ways = [separator.separate(embedded, name, 3) for name in names]
    magnitudes = ways[0].mixture_magnitudes[0].numpy()
    loudest = np.argsort(-magnitudes)[:200]
    points = ways[0].embeddings[0].numpy()[loudest].astype(np.float64)
    _, powers, axes = np.linalg.svd(points - points.mean(0))
    signs = np.sign((found["bins"] * (points @ axes[:2].T)).sum(0))
    np.testing.assert_allclose(found["bins"], points @ axes[:2].T * signs, atol=1e-4)
    np.testing.assert_allclose(found["explained"], (powers**2 / (powers**2).sum())[:2], rtol=1e-4)
    for way, marks in zip(ways, found["chosen"], strict=True):
        np.testing.assert_allclose(marks, way.attractors[0].numpy() @ axes[:2].T * signs, atol=1e-4)
    sources = separator.filterbank.encode(batch.sources).abs().flatten(2)[0].numpy()
    assert np.array_equal(found["dominant"], sources[:, loudest].argmax(0))


@pytest.mark.parametrize("samples", [1, 20, 33])
def test_a_mixture_of_a_few_samples(samples, tmp_path):
    found = kept(tmp_path, masking(), [batch_of((samples,))])
    assert all(np.isfinite(found[name]).all() for name in ("attractors", "bins", "chosen", "explained"))


@pytest.mark.parametrize("shape", [(1, 3), (5, 1), (4, 2), (0, 3)])
def test_axes_of_few_points_and_few_dimensions(shape):
    axes, explained = principal_axes(torch.ones(shape, dtype=torch.float64))
    assert axes.shape == (shape[1], 2) and bool(axes.isfinite().all()) and explained.tolist() == [0, 0]


def test_the_map_keeps_neighbours_together():
    random = np.random.default_rng(0)
    groups = np.repeat(np.arange(4), 12)
    points = (8 * np.eye(4, 6)[groups] + random.standard_normal((48, 6))).astype(np.float32)
    found = neighbour_map(points)
    distances = np.linalg.norm(found[:, None] - found, axis=-1)
    np.fill_diagonal(distances, np.inf)
    assert (groups[distances.argmin(1)] == groups).mean() > 0.9
    assert np.array_equal(found, neighbour_map(points))


@pytest.mark.parametrize("points", [np.ones((50, 3)), np.eye(FEW - 1), np.repeat(np.eye(2, 3), 20, axis=0)])
def test_no_map_of_attractors_that_do_not_differ(points):
    assert neighbour_map(points.astype(np.float32)).shape == (0, 2)


# --- the report


def fabricate(folder, label="sanet", speakers=30, **changes):
    """A run with pictures; a change of None leaves an array out."""
    random = np.random.default_rng(0)
    arrays = {
        "map": random.standard_normal((60, 2)),
        "speakers": np.arange(60) % speakers if speakers else np.full(60, -1),
        "bins": random.standard_normal((100, 2)),
        "dominant": np.arange(100) % 2,
        "choices": np.array(["ideal", "euclidean", "fixed"]),
        "chosen": random.standard_normal((3, 2, 2)),
        "explained": np.array([0.5, 0.25]),
    } | changes
    folder.mkdir(parents=True)
    (folder / "command.txt").write_text("python train.py\n")
    (folder / "config.json").write_text(json.dumps({"experiment": label}))
    np.savez(folder / FILE, **{name: value for name, value in arrays.items() if value is not None})
    return folder


def report(folder):
    return write_report([folder], folder / "out")[1].read_text()


def test_pictures_of_the_runs_that_have_them(tmp_path):
    fabricate(tmp_path / "a", label="<b>$x_{1}$")
    fabricate(tmp_path / "b", speakers=0)
    fabricate(tmp_path / "c", map=np.zeros((0, 2)))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "test_summary.json").write_text("{}")
    page = report(tmp_path)
    assert 'href="#embeddings"' in page and page.count("<svg") == 2
    assert page.count("60 attractors, 30 speakers") == 1 and page.count("60 attractors, unknown speakers") == 1
    assert page.count("first component (50 %)") == page.count("second component (25 %)") == 3
    assert page.count(">euclidean<") == page.count(">fixed<") == 3
    assert "<b>" not in page and page.count("&lt;b&gt;$x_{1}$</text>") == 2
    assert page.count("data:image/png") == 5  # one a panel, however many speakers


def test_no_section_without_pictures(tmp_path):
    (fabricate(tmp_path / "a") / FILE).unlink()
    page = report(tmp_path)
    assert 'id="embeddings"' not in page and FILE not in page


def _shortened(data):
    return data[: len(data) // 2]


def _without_bins(data):
    arrays = dict(np.load(io.BytesIO(data)))
    del arrays["bins"]
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize("broken", [_shortened, _without_bins, lambda data: b"", lambda data: b"text\n"])
def test_a_broken_file_leaves_a_note(broken, tmp_path):
    path = fabricate(tmp_path / "a") / FILE
    path.write_bytes(broken(path.read_bytes()))
    page = report(tmp_path)
    assert 'id="embeddings"' not in page and f"{FILE}: could not be read" in page
