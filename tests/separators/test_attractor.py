"""Attractor masking: literal definitions as oracles, in double precision; then what must hold for any input."""

import itertools

import pytest
import torch
from torch import nn

from sb_ext.clustering import KMeans, SoftKMeans
from sb_ext.contracts import MixtureBatch
from sb_ext.filterbanks import LearnedFilterbank, Stft
from sb_ext.losses import CircleLoss, NegSISDR
from sb_ext.networks import BLSTM, TemporalConvNet
from sb_ext.objectives import AttractorLearning
from sb_ext.objectives import attractor as terms
from sb_ext.separators import AttractorMasking, attractors, similarities, weighting
from sb_ext.separators.counting import CosineCounting
from sb_ext.separators.embeddings import Embeddings
from sb_ext.separators.enhancement import Enhancement


@pytest.fixture
def parts():
    torch.manual_seed(0)
    embeddings = torch.randn(3, 40, 5, dtype=torch.float64, requires_grad=True)
    weights = torch.rand(3, 40, dtype=torch.float64)
    ideal = torch.rand(3, 2, 40, dtype=torch.float64)
    return embeddings, weights, ideal / ideal.sum(1, keepdim=True)


def separator(similarity="Cosine", training="ideal", inference="spherical", network=None, **more):
    choices = {
        "ideal": attractors.IdealAttractors(),
        "spherical": attractors.KMeansAttractors(KMeans(spherical=True, starts=3)),
        "euclidean": attractors.KMeansAttractors(KMeans(starts=3)),
        "soft": attractors.KMeansAttractors(SoftKMeans()),
        "anchors": attractors.AnchorAttractors(4, 6),
        "fixed": attractors.FixedAttractors(2, 6),
    }
    network = network or TemporalConvNet(16, 6, 8, 16, num_layers=2, num_stacks=1, activation=nn.Identity)
    more = {"weighting": weighting.MagnitudePower(), "unit_norm": True, "training_attractors": training} | more
    return AttractorMasking(
        LearnedFilterbank(16), network, choices, inference, similarity=getattr(similarities, similarity)(), **more
    )


def batch_of(num_sources=2, samples=800):
    sources = torch.randn(4, num_sources, samples)
    speakers = torch.arange(4 * num_sources).reshape(4, num_sources) % (num_sources + 1)
    return MixtureBatch(list("abcd"), sources.sum(1), sources, speakers, torch.full((4,), samples))


# --- attractors


@pytest.mark.parametrize("dominant", [False, True])
def test_ideal_attractors_are_weighted_means(parts, dominant):
    embeddings, weights, ideal = parts
    found = attractors.IdealAttractors(dominant)(Embeddings(embeddings), weights, ideal, 2)
    for item, source in itertools.product(range(3), range(2)):
        total, mass = 0, 0
        for bin_ in range(40):
            share = ideal[item, source, bin_]
            load = weights[item, bin_] * (float(share == ideal[item, :, bin_].max()) if dominant else share)
            total, mass = total + load * embeddings[item, bin_], mass + load
        torch.testing.assert_close(found[item, source], total / mass)


def test_anchors_choose_the_set_least_alike(parts):
    embeddings, weights, _ = parts
    module = attractors.AnchorAttractors(4, 5).double()
    found = module(Embeddings(embeddings), weights, None, 2)
    for item in range(3):
        best, least = None, float("inf")
        for subset in itertools.combinations(range(4), 2):
            scores = torch.stack([embeddings[item] @ module.anchors[place] for place in subset])
            loads = torch.softmax(scores, 0) * weights[item]
            candidate = (loads @ embeddings[item]) / loads.sum(1, keepdim=True)
            likeness = float(candidate[0].detach() @ candidate[1].detach())
            if likeness < least:
                best, least = candidate, likeness
        torch.testing.assert_close(found[item], best)
        (mine,) = torch.autograd.grad(found[item].sum(), module.anchors, retain_graph=True)
        (naive,) = torch.autograd.grad(best.sum(), module.anchors, retain_graph=True)
        torch.testing.assert_close(mine, naive)


def test_fixed_attractors_are_the_mean_in_the_best_order():
    torch.manual_seed(1)
    module, true = attractors.FixedAttractors(2, 3), torch.tensor([[3.0, 0, 0], [0, 3.0, 0]])
    for _ in range(200):
        noisy = true + 0.1 * torch.randn(8, 2, 3)
        noisy[::2] = noisy[::2].flip(1)
        module.observe(noisy)
    found = module(Embeddings(torch.zeros(1, 4, 3)), torch.ones(1, 4), None, 2)[0]
    assert min((found - true).abs().max(), (found.flip(0) - true).abs().max()) < 0.05


def test_soft_clusters_equal_their_definition(parts):
    embeddings, weights, _ = parts
    start = KMeans(iterations=3).eval()
    memberships, centroids = SoftKMeans(2, 5.0, start)(embeddings, weights, 3)
    for item in range(3):
        naive = start(embeddings[item : item + 1].detach(), weights[item : item + 1], 3)[1][0]
        for _ in range(2):
            distance = (embeddings[item].unsqueeze(0) - naive.unsqueeze(1)).square().sum(-1)
            soft = torch.softmax(-5.0 * distance, 0)
            loads = soft * weights[item]
            naive = torch.stack([(load.unsqueeze(1) * embeddings[item]).sum(0) / load.sum() for load in loads])
        torch.testing.assert_close(centroids[item], naive)
        torch.testing.assert_close(memberships[item], soft)


# --- similarities and weights


@pytest.mark.parametrize(
    ("name", "literal"),
    [
        ("DotProduct", lambda v, a: v @ a),
        ("Cosine", lambda v, a: v @ a / a.norm()),
        ("NegativeDistance", lambda v, a: -(v - a).norm()),
        ("NegativeSquare", lambda v, a: -5 * (v - a).square().sum()),
    ],
)
def test_similarities(parts, name, literal):
    embeddings, found = parts[0], torch.randn(3, 2, 5, dtype=torch.float64)
    values = getattr(similarities, name)()(Embeddings(embeddings), found)
    for item, source, bin_ in itertools.product(range(3), range(2), range(40)):
        torch.testing.assert_close(values[item, source, bin_], literal(embeddings[item, bin_], found[item, source]))


@pytest.mark.parametrize("name", ["DotProduct", "Cosine", "NegativeDistance", "NegativeSquare"])
def test_unit_length_without_a_copy_is_unit_length(parts, name):
    embeddings, weights, ideal = parts
    found, similarity = torch.randn(3, 2, 5, dtype=torch.float64), getattr(similarities, name)()
    unit = embeddings / embeddings.norm(dim=-1, keepdim=True)
    results = []
    for given in (Embeddings(unit), Embeddings.of(embeddings, unit_norm=True)):
        means = given.means(ideal * weights.unsqueeze(1))
        total = similarity(given, found).square().sum() + means.square().sum()
        results.append((means, torch.autograd.grad(total, embeddings, retain_graph=True)[0]))
    for expected, ours in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected)


def test_nearest_gives_each_bin_to_one(parts):
    module, found = similarities.Nearest(), torch.randn(3, 2, 5, dtype=torch.float64)
    masks = module.masks(module(Embeddings(parts[0]), found))
    assert torch.equal(masks.argmax(1), torch.cdist(found, parts[0]).argmin(1)) and bool((masks.sum(1) == 1).all())


def test_loudest_bins_keeps_the_share():
    magnitudes = torch.rand(5, 200)
    kept = weighting.LoudestBins(0.9)(magnitudes) > 0
    assert kept.sum(1).tolist() == [180] * 5
    assert all(row[mask].min() > row[~mask].max() for row, mask in zip(magnitudes, kept, strict=True))


# --- the separator as SANet's public code has it: same embeddings and attractors, same masks, losses, estimates


def test_sanet_as_written_down_in_its_paper():
    torch.manual_seed(2)
    model, batch = separator().train(), batch_of()
    separation = model(batch.mixture, oracle=batch.sources, num_sources=2)
    code = model.filterbank.encode(batch.mixture)
    shares = model.filterbank.encode(batch.sources)
    shares = (shares / (shares.sum(1, keepdim=True) + 1e-8)).flatten(2)
    raw = model.network(code)[-1].reshape(4, 6, -1).transpose(1, 2)
    unit = raw / raw.norm(dim=-1, keepdim=True)
    weights = code.flatten(1) / code.sum((1, 2)).unsqueeze(1)
    loads = shares * weights.unsqueeze(1)
    means = torch.bmm(loads, unit) / loads.sum(2, keepdim=True)
    direction = means / means.norm(dim=-1, keepdim=True)
    masks = torch.softmax(10 * torch.bmm(direction, unit.transpose(1, 2)), 1)
    torch.testing.assert_close(separation.attractors, means, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(separation.masks, masks, rtol=1e-4, atol=1e-5)
    estimates = model.filterbank.decode(masks.unflatten(-1, code.shape[1:]) * code.unsqueeze(1), 800)
    torch.testing.assert_close(separation.sources, estimates, rtol=1e-3, atol=1e-5)
    compact = terms.Compactness(1.0)(separation, batch)
    dominant = torch.where(shares > 0.5, shares, 0)
    literal = -(weights.unsqueeze(1) * dominant * torch.bmm(direction, unit.transpose(1, 2))).sum((1, 2))
    torch.testing.assert_close(compact, literal)
    speaker = terms.SpeakerLoss(CircleLoss())(separation, batch)
    flat, labels = direction.detach().flatten(0, 1), batch.speakers.flatten()
    total = 0.0
    for (a, b), (c, d) in itertools.product(itertools.combinations(range(8), 2), repeat=2):
        if labels[a] == labels[b] and labels[c] != labels[d]:
            positive, negative = float(flat[a] @ flat[b]), float(flat[c] @ flat[d])
            pull = max(0.0, 1.25 - positive) * (positive - 0.75)
            total += torch.exp(torch.tensor(15 * (max(0.0, negative + 0.25) * (negative - 0.25) - pull)))
    torch.testing.assert_close(speaker[0], torch.log1p(total), rtol=1e-4, atol=1e-5)


def test_magnitude_error_against_its_definition():
    torch.manual_seed(3)
    batch = batch_of()
    separation = separator("DotProduct").train()(batch.mixture, oracle=batch.sources, num_sources=2)
    mixture, targets = separation.mixture_magnitudes, separation.source_magnitudes
    plain, best = terms.MagnitudeError()(separation, batch), terms.MagnitudeError(permute=True)(separation, batch)
    for item in range(4):
        masked = separation.masks.detach()[item] * mixture[item].detach()
        errors = (masked.unsqueeze(1) - targets[item].detach()).square().mean(-1)
        ways = [float(errors[0, 0] + errors[1, 1]) / 2, float(errors[0, 1] + errors[1, 0]) / 2]
        assert plain[item].item() == pytest.approx(ways[0], rel=1e-4)
        assert best[item].item() == pytest.approx(min(ways), rel=1e-4)


# --- what must hold


@pytest.mark.parametrize("training", ["ideal", "soft", "anchors", "euclidean", None])
@pytest.mark.parametrize("num_sources", [2, 3])
def test_every_training_choice_gives_gradients(training, num_sources):
    if training == "soft":
        model = separator("NegativeSquare", "soft", enhancement=None)
    else:
        model = separator("DotProduct", training)
    costs = {"clustering": terms.DeepClustering()} if training is None else {"error": terms.MagnitudeError(True)}
    report = AttractorLearning(costs)(model.train(), batch_of(num_sources), 1)
    report.loss.mean().backward()
    gradient = model.network.head[1].weight.grad
    assert report.loss.shape == (4,) and bool(gradient.isfinite().all()) and float(gradient.abs().sum()) > 0
    assert (model.attractors["anchors"].anchors.grad is not None) == (training == "anchors")


@pytest.mark.parametrize("inference", ["spherical", "euclidean", "soft", "anchors"])
@pytest.mark.parametrize("mixture", [torch.zeros(2, 700), torch.randn(2, 3), torch.randn(1, 4001)])
def test_any_length_silence_and_number(inference, mixture):
    model = separator(inference=inference).eval()
    for number in (1, 2, 4):
        sources = model(mixture, num_sources=number).sources
        assert sources.shape == (len(mixture), number, mixture.shape[-1]) and bool(sources.isfinite().all())
    assert bool(model(mixture).sources.isfinite().all())


def test_a_silent_source_gives_no_nan():
    batch = batch_of()
    batch.sources[0, 1] = 0
    costs = {
        "reconstruction": terms.Reconstruction(NegSISDR()),
        "speaker": terms.SpeakerLoss(CircleLoss()),
        "compactness": terms.Compactness(),
    }
    model = separator().train()
    loss = AttractorLearning(costs)(model, batch, 1).loss
    loss.mean().backward()
    assert bool(loss.isfinite().all())
    assert all(bool(one.grad.isfinite().all()) for one in model.parameters() if one.grad is not None)


def test_the_same_mixture_gives_the_same_estimates_whatever_was_drawn_before():
    model, mixture = separator().eval(), torch.randn(2, 900)
    first = model(mixture, num_sources=3).sources
    torch.rand(7)
    assert torch.equal(first, model(mixture, num_sources=3).sources)


def test_items_with_fewer_speakers_end_in_silence():
    model = separator().eval()
    model.counting.forward = lambda embeddings, weights: torch.tensor([1, 3])
    sources = model(torch.randn(2, 900)).sources
    assert sources.shape == (2, 3, 900) and not sources[0, 1:].any() and bool(sources[1].any(-1).all())


def test_a_frozen_filterbank_takes_no_gradient():
    model, batch = separator(freeze_filterbank=True).train(), batch_of()
    AttractorLearning({"r": terms.Reconstruction(NegSISDR())})(model, batch, 1).loss.mean().backward()
    assert all(one.grad is None for one in model.filterbank.parameters())


@pytest.mark.parametrize("number", [2, 3, 4, 5])
def test_counting_clusters_that_are_apart(number):
    torch.manual_seed(number)
    directions = torch.eye(8)[torch.arange(600) % number] + 0.1 * torch.randn(3, 600, 8)
    assert CosineCounting()(directions, torch.rand(3, 600)).tolist() == [number] * 3


def test_enhancement_is_equivariant():
    module = Enhancement(BLSTM(66, 1, cells=4, num_bins=33)).eval()
    masked, mixture = torch.rand(2, 3, 33, 7), torch.rand(2, 33, 7)
    torch.testing.assert_close(module(masked.flip(1), mixture), module(masked, mixture).flip(1))


def test_blstm_embeds_the_bins_of_a_spectrum():
    model = separator("DotProduct", "euclidean", network=BLSTM(16, 6, cells=4)).train()
    assert model(torch.randn(2, 500), num_sources=2).embeddings.shape[-1] == 6
    assert BLSTM(33, 2, cells=4).eval()(Stft(64, 32).encode(torch.randn(1, 300)).abs())[0].shape[:3] == (1, 2, 33)


# --- bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: separator(inference="sferical"), "inference.*spherical.*sferical"),
        (lambda: separator(training="idle"), "training_attractors.*ideal"),
        (lambda: separator(inference="anchors").eval()(torch.randn(1, 300), num_sources=5), "5 sources.*4"),
        (lambda: separator(inference="fixed").eval()(torch.randn(1, 300), num_sources=3), "fixed attractors.*3"),
        (lambda: separator(inference="ideal").eval()(torch.randn(1, 300), num_sources=2), "oracle.*--inference"),
        (lambda: separator().eval()(torch.randn(1, 16), num_sources=17), "17 clusters.*fewer sources"),
        (lambda: weighting.LoudestBins(0), "share.*0"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_speaker_loss_needs_speakers():
    batch = batch_of()
    batch.speakers = None
    objective = AttractorLearning({"speaker": terms.SpeakerLoss(CircleLoss())})
    with pytest.raises(ValueError, match=r"speaker.*'a'.*sanet_no_speaker_loss"):
        objective(separator().train(), batch, 1)
