"""Attractor masking: literal definitions as oracles, in double precision; then what must hold for any input."""

import itertools

import pytest
import torch
from torch import nn

from sb_ext.clustering import KMeans
from sb_ext.contracts import MixtureBatch
from sb_ext.filterbanks import LearnedFilterbank, Stft
from sb_ext.losses import CircleLoss, NegSISDR
from sb_ext.networks import BLSTM, TemporalConvNet
from sb_ext.objectives import AttractorLearning
from sb_ext.objectives import attractor as terms
from sb_ext.separators import AttractorMasking, attractors, similarities, weighting
from sb_ext.soft_clustering import SoftKMeans


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


class AuthorsBlock(nn.Module):
    """One block of the authors' TCN, with their names."""

    def __init__(self, dilation):
        super().__init__()
        self.conv1d, self.nonlinearity1, self.reg1 = nn.Conv1d(8, 16, 1), nn.PReLU(), nn.GroupNorm(1, 16, eps=1e-8)
        self.dconv1d = nn.Conv1d(16, 16, 3, dilation=dilation, groups=16, padding=dilation)
        self.nonlinearity2, self.reg2 = nn.PReLU(), nn.GroupNorm(1, 16, eps=1e-8)
        self.res_out, self.skip_out = nn.Conv1d(16, 8, 1), nn.Conv1d(16, 8, 1)

    def forward(self, features):
        hidden = self.reg1(self.nonlinearity1(self.conv1d(features)))
        hidden = self.reg2(self.nonlinearity2(self.dconv1d(hidden)))
        return features + self.res_out(hidden), self.skip_out(hidden)


def test_the_authors_weights_give_their_embeddings():
    torch.manual_seed(4)
    theirs = nn.Module()
    theirs.encoder, theirs.decoder, theirs.danet = nn.Module(), nn.Module(), nn.Module()
    theirs.encoder.conv = nn.Conv1d(1, 16, 16, 8, bias=False)
    theirs.decoder.deconv = nn.ConvTranspose1d(16, 1, 16, 8, bias=False)
    net = theirs.danet.embedding_net = nn.Module()
    net.LN, net.BN = nn.GroupNorm(1, 16, eps=1e-8), nn.Conv1d(16, 8, 1)
    net.TCN = nn.ModuleList([AuthorsBlock(1), AuthorsBlock(2)])
    net.output = nn.Sequential(nn.PReLU(), nn.Conv1d(8, 16 * 6, 1))
    for weight in net.parameters():
        nn.init.uniform_(weight, 0.1, 0.5) if weight.dim() == 1 else nn.init.normal_(weight, std=0.3)
    mixture = torch.randn(2, 600)
    code = theirs.encoder.conv(mixture.unsqueeze(1)).relu()
    hidden, total = net.BN(net.LN(code)), 0
    for block in net.TCN:
        hidden, skip = block(hidden)
        total = total + skip
    expected = nn.functional.normalize(net.output(total).reshape(2, 6, -1), dim=1).mT
    model = separator()
    model.load_sanet(theirs.state_dict())
    found = model.eval()(mixture, num_sources=2)
    torch.testing.assert_close(found.embeddings, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.filterbank.decoder.weight, theirs.decoder.deconv.weight)


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


@pytest.mark.parametrize("inference", ["spherical", "euclidean", "soft"])
def test_where_fewer_bins_count_than_there_are_sources_all_count_alike(inference):
    def two_loudest(magnitudes):
        return torch.zeros_like(magnitudes).scatter(1, magnitudes.topk(2).indices, 0.5)

    mixture = torch.randn(2, 300)
    model = separator(inference=inference, clustering_weighting=two_loudest).eval()
    alike = separator(inference=inference, clustering_weighting=torch.ones_like).eval()
    alike.load_state_dict(model.state_dict())
    assert torch.equal(model(mixture, num_sources=3).sources, alike(mixture, num_sources=3).sources)
    assert not torch.equal(model(mixture, num_sources=2).sources, alike(mixture, num_sources=2).sources)


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


def test_clustering_may_weigh_the_bins_by_itself():
    def loud(magnitudes):
        return torch.ones_like(magnitudes)

    mixture, oracle = torch.randn(2, 900), torch.randn(2, 2, 900)
    model = separator(clustering_weighting=loud).eval()
    assert bool((model(mixture, num_sources=2).weights == 1).all())
    ideal = model.separate(model.embed(mixture, oracle), "ideal", 2).weights
    torch.testing.assert_close(ideal.sum(1), torch.ones(2))
    assert torch.equal(model.train()(mixture, oracle=oracle).weights, ideal)


def test_items_with_fewer_speakers_end_in_silence():
    model = separator().eval()
    model.counting.forward = lambda embeddings, weights: torch.tensor([1, 3])
    sources = model(torch.randn(2, 900)).sources
    assert sources.shape == (2, 3, 900) and not sources[0, 1:].any() and bool(sources[1].any(-1).all())


def test_a_frozen_filterbank_takes_no_gradient():
    model, batch = separator(freeze_filterbank=True).train(), batch_of()
    AttractorLearning({"r": terms.Reconstruction(NegSISDR())})(model, batch, 1).loss.mean().backward()
    assert all(one.grad is None for one in model.filterbank.parameters())


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
