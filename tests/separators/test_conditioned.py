"""FiLM stack and speaker conditioning: written out once more, equivariance, passes, and what is trained."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from sb_ext.filterbanks import LearnedFilterbank
from sb_ext.losses import NegSISDR
from sb_ext.networks import TemporalConvNet
from sb_ext.networks.film_stack import FilmStack
from sb_ext.objectives import PIT
from sb_ext.objectives.layer_wise import LayerWise
from sb_ext.separators import Masking
from sb_ext.separators.conditioned import Conditioned, ConditionedSynthesis
from sb_ext.speech.embeddings import SpeakerEmbedding
from sb_ext.speech.rawnet2 import RawNet2

SMALL = dict(num_samples=2700, widths=(4, 8), kernel_size=31, cells=8, num_outputs=6, overlap=500)


def stack(**more):
    torch.manual_seed(0)
    sizes = {"channels": 4, "num_layers": 3, "num_groups": 2, "hidden": 5, "embedding_size": 6}
    model = FilmStack(8, **{**sizes, **more})
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


def separator(count=2, kind=Conditioned, gradient=False, **more):
    torch.manual_seed(1)
    basic = Masking(LearnedFilterbank(8), TemporalConvNet(8, count, 4, 8, num_layers=1, num_stacks=1))
    embedding = SpeakerEmbedding(RawNet2(**SMALL), 8000, gradient=gradient)
    return kind(basic, embedding, LearnedFilterbank(8), stack(), **more)


def written_out(model, features, embeddings):
    """One source at a time: residual layers of dilated convolution, FiLM, PReLU and norm (Wavesplit, section III-D)."""
    results = []
    for place in range(embeddings.shape[1]):
        normed = F.layer_norm(embeddings, embeddings.shape[-1:])
        others = [normed[:, other] for other in range(embeddings.shape[1]) if other != place]
        told = torch.cat([normed[:, place], sum(others) / len(others)], -1)
        first, bend, second = model.generator.layers
        films = second(F.prelu(first(told), bend.weight)).reshape(len(told), len(model.layers), 2, 4, 1)
        norm, project = model.squeeze
        hidden = project(F.group_norm(features, 1, norm.weight, norm.bias, 1e-8))
        for number, layer in enumerate(model.layers):
            dilation = [1, 2, 4, 1, 2, 4][number]
            new = F.conv1d(hidden, layer.conv.weight, layer.conv.bias, padding=dilation, dilation=dilation)
            new = (1 + films[:, number, 0]) * new + films[:, number, 1]
            slope, norm = layer.bend
            hidden = hidden + F.group_norm(F.prelu(new, slope.weight), 1, norm.weight, norm.bias, 1e-8)
        slope, project, _ = model.head
        results.append(project(F.prelu(hidden, slope.weight)).sigmoid())
    return torch.stack(results, 1)


@pytest.mark.parametrize("count", [2, 3])
def test_the_stack_is_the_papers(count):
    model, features, embeddings = stack(), torch.rand(2, 8, 40), torch.randn(2, count, 6)
    torch.testing.assert_close(model(features, embeddings), written_out(model, features, embeddings))


def test_causal_convolutions_look_back_only():
    model, features = stack(causal=True), torch.rand(1, 4, 40)
    for layer in model.layers:
        layer.bend = torch.nn.PReLU()
        changed = features.clone()
        changed[..., 20:] += 1
        one, two = (layer(each, torch.zeros(1, 2, 4, 1)) for each in (features, changed))
        assert torch.equal(one[..., :20], two[..., :20]) and not torch.equal(one[..., 20:], two[..., 20:])


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(3)), st.integers(2, 3), st.sampled_from([Conditioned, ConditionedSynthesis]))
def test_permuted_estimates_give_permuted_results(order, count, kind):
    model, order = separator(count, kind).eval(), [place for place in order if place < count]
    tones = torch.tensor([0.1, 0.9, 2.5])[:count, None] * torch.arange(900)
    mixture, estimates = torch.randn(2, 900), tones.sin() + 0.1 * torch.randn(2, count, 900)
    with torch.no_grad():
        plain, permuted = (list(model.refine(mixture, each, 2)) for each in (estimates, estimates[:, order]))
    for one, two in zip(plain, permuted, strict=True):
        torch.testing.assert_close(one[:, order], two, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(one, two) or order == sorted(order)


@pytest.mark.parametrize("count", [2, 3])
def test_each_pass_embeds_the_estimates_of_the_one_before(count):
    model, mixture = separator(count, num_passes=2).eval(), torch.randn(2, 900)
    expected, code = [model.basic(mixture).sources], model.filterbank.encode(mixture)
    for _ in range(2):
        masks = model.stack(code, model.embedding(expected[-1]))
        expected.append(model.filterbank.decode(masks * code[:, None], 900))
    separation = model(mixture, layers=True)
    torch.testing.assert_close(separation.layers, tuple(expected[1:]))
    assert separation.sources.shape == (2, count, 900) and not torch.allclose(*separation.layers)
    assert torch.equal(model(mixture).sources, separation.sources) and model(mixture).layers == ()


def test_passes_of_training_and_of_inference():
    model, mixture = separator(num_passes=2, inference_passes=3), torch.randn(1, 900)
    assert len(model.train()(mixture, layers=True).layers) == 2
    assert len(model.eval()(mixture, layers=True).layers) == 3


def test_a_model_for_two_takes_any_number_of_estimates():
    model = separator(2)
    (result,) = model.refine(torch.randn(1, 900), torch.randn(1, 4, 900), 1)
    assert result.shape == (1, 4, 900)
    (alone,) = model.refine(torch.randn(1, 900), torch.randn(1, 1, 900), 1)
    assert alone.isfinite().all()


@pytest.mark.parametrize("freeze", [True, False])
def test_what_is_trained(freeze, make_batch):
    """Layer-wise optimisation composes: with a basic separator that is trained, its estimates are the first layer."""
    model = separator(freeze_basic=freeze, num_passes=2).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    PIT(NegSISDR(), layers=LayerWise())(model, make_batch(samples=900), 1).loss.mean().backward()
    trained = {name.split(".")[0] for name, one in model.named_parameters() if one.grad is not None and one.grad.any()}
    assert trained == {"filterbank", "stack"} | ({"basic"} if not freeze else set())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert len(model(torch.randn(1, 900), layers=True).layers) == (2 if freeze else 3)
    assert not model.embedding.encoder.training and model.basic.training == (not freeze)


def test_a_gradient_through_the_encoder_trains_the_basic_separator(make_batch):
    model = separator(freeze_basic=False, gradient=True).train()
    PIT(NegSISDR())(model, make_batch(samples=900), 1).loss.mean().backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in model.basic.parameters())
    assert all(one.grad is None for one in model.embedding.parameters())


def test_training_that_would_not_reach_the_basic_separator_is_refused(make_batch):
    model, mixture = separator(freeze_basic=False).train(), torch.randn(1, 900)
    with pytest.raises(ValueError, match="freeze_basic: False .* no gradient would reach it; set --layers"):
        model(mixture)
    with torch.no_grad():
        model(mixture)
    model.eval()(mixture)


@pytest.mark.parametrize("layers, warned", [(None, True), (LayerWise(), False)])
def test_passes_that_are_not_trained_for_themselves_are_said(layers, warned, caplog):
    PIT(NegSISDR(), layers=layers).prepare(separator(num_passes=2))
    PIT(NegSISDR(), layers=layers).prepare(separator())
    assert caplog.text.count("num_passes: only the last of 2 passes is trained") == warned


@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_passes": 0}, "num_passes: expected a whole number of at least 1, received 0"),
        ({"inference_passes": 1.5}, "inference_passes: expected a whole number of at least 1, received 1.5"),
        ({"stack": stack(embedding_size=7)}, "FiLM expects embeddings of 7 numbers, the speaker encoder gives 6"),
        ({"filterbank": LearnedFilterbank(9)}, "stack.num_inputs: the filterbank gives 9 bins, received 8"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    one = separator()
    parts = {name: getattr(one, name) for name in ("basic", "embedding", "filterbank", "stack")}
    with pytest.raises(ValueError, match=message):
        Conditioned(**{**parts, **change})
