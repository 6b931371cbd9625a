"""Attractors beside SANet's public code: ``python benchmarks/attractors.py [--public_sanet FOLDER]``.

Four tables: a training step of k-means DANet as its unrolled iterations grow; the same without the network, in time and
in memory kept for the backward pass; clustering at inference; and the attractor head of a step with SANet's losses.
FOLDER is a checkout of github.com/fjiang9/sanet; without it the tables show ours alone.
"""

import argparse
import sys
from pathlib import Path
from types import ModuleType

import torch
from interleaved import interleaved, saved_bytes, show, show_beside
from torch.nn.functional import normalize

from sb_ext.clustering import KMeans, RandomPoints
from sb_ext.contracts import AttractorSeparation, MixtureBatch
from sb_ext.filterbanks import Stft
from sb_ext.losses import CircleLoss
from sb_ext.networks import BLSTM
from sb_ext.objectives import AttractorLearning
from sb_ext.objectives.attractor import Compactness, MagnitudeError, SpeakerLoss
from sb_ext.separators import AttractorMasking
from sb_ext.separators.attractors import IdealAttractors, KMeansAttractors
from sb_ext.separators.embeddings import Embeddings
from sb_ext.separators.similarities import Cosine, DotProduct
from sb_ext.separators.weighting import MagnitudePower


def load_public(folder):
    """The public modules; what they import and these tables do not use is stood in for by empty modules."""
    # Its folder called losses would be taken for the file of that name here.
    sys.path[:] = [folder, *(one for one in sys.path if one != str(Path(__file__).parent))]
    for name, content in (("sklearn.cluster", "KMeans"), ("spherecluster", "SphericalKMeans"), ("torch_stft", "STFT")):
        if name not in sys.modules:
            sys.modules[name] = ModuleType(name)
            setattr(sys.modules[name], content, None)
    sys.modules.setdefault("glob2", ModuleType("glob2"))
    if not torch.cuda.is_available():
        # It says .cuda() wherever it makes a tensor.
        torch.Tensor.cuda = lambda self, *_, **__: self
    from losses import spk_loss
    from models import cae_danet

    return cae_danet, spk_loss


def scene(batch, bins, dims, num_sources, device):
    """Embeddings ``[B, D, N]`` around a direction a source, magnitudes, ideal masks, speakers."""
    directions = torch.randn(batch, num_sources, dims, device=device)
    dominant = torch.randint(num_sources, (batch, bins), device=device)
    raw = directions.gather(1, dominant.unsqueeze(-1).expand(-1, -1, dims)).mT + 0.5 * torch.randn(
        batch, dims, bins, device=device
    )
    magnitudes = torch.rand(batch, bins, device=device).square()
    ideal = torch.nn.functional.one_hot(dominant, num_sources).mT * 0.8 + 0.1
    speakers = torch.arange(batch * num_sources, device=device).reshape(batch, num_sources) % (batch + 1)
    return raw.contiguous().requires_grad_(), magnitudes, ideal.float(), speakers


def training_step(options, device):
    """k-means DANet at the paper's size: iterations against the time of a whole step."""
    sources = 0.05 * torch.randn(options.batch, 2, 24000, device=device)
    batch = MixtureBatch([""] * options.batch, sources.sum(1), sources, None, torch.full((options.batch,), 24000))
    objective, network = AttractorLearning({"error": MagnitudeError(permute=True)}), BLSTM(257, 20).to(device)

    def step(iterations):
        attractors = {"unrolled": KMeansAttractors(KMeans(iterations, spherical=True, unnormalised=True))}
        separator = AttractorMasking(
            Stft(), network, attractors, "unrolled", "unrolled", DotProduct(), MagnitudePower(power=2)
        ).to(device)
        optimizer = torch.optim.Adam(network.parameters(), fused=True)

        def run():
            optimizer.zero_grad()
            objective(separator, batch, 1).loss.mean().backward()
            optimizer.step()

        return run

    steps = {f"L = {iterations}": step(iterations) for iterations in (1, 5, 20)}
    show_beside("Training step of k-means DANet", interleaved(steps, options.rounds), "L = 1")


def unrolled(public, options, device):
    """Embeddings to masks and back: iterations against time and memory."""
    raw, magnitudes, _, _ = scene(options.batch, options.bins, 20, 2, device)
    network = torch.nn.Conv1d(20, 20, 1).to(device)
    similarity = DotProduct()

    def ours(iterations):
        embeddings = network(raw).mT
        centroids = KMeans(iterations, spherical=True, unnormalised=True, init=RandomPoints())(embeddings, magnitudes)[
            1
        ]
        return similarity.masks(similarity(Embeddings(embeddings), centroids)).square().mean()

    def theirs(iterations):
        danet = public.DANet(embed_dim=20, V_activate=False)
        danet.add_kmeans("hard", iter=iterations, dist_type="dotProduct")
        embeddings = network(raw).unflatten(2, (-1, 1))
        return danet(None, V=embeddings.flatten(1, 2), weight=magnitudes.unsqueeze(1))[0].square().mean()

    steps = {f"ours, L = {iterations}": (ours, iterations) for iterations in (1, 5, 20)}
    if public:
        steps |= {f"public, L = {iterations}": (theirs, iterations) for iterations in (1, 5, 20)}
    medians = interleaved({name: lambda s=s: s[0](s[1]).backward() for name, s in steps.items()}, options.rounds)
    show_beside("Unrolled k-means, 2 clusters, with masks and backward", medians, "ours, L = 1")
    for name, (run, iterations) in steps.items():
        print(f"  {name:44s} keeps {saved_bytes(lambda r=run, i=iterations: r(i), [raw]) / 2**20:8.1f} MB")


def inference(public, options, device):
    """20 iterations, the best of 5 starts."""
    raw, magnitudes, _, _ = scene(options.batch, options.bins, 32, 3, device)
    raw, kmeans = normalize(raw.detach(), dim=1), KMeans(20, 5, spherical=True).eval()
    candidates = {"ours": lambda: kmeans(raw.mT, magnitudes, 3)}
    if public:
        danet = public.DANet(embed_dim=32, V_activate=False, da_sim="cos")
        danet.add_kmeans("hard", iter=20, dist_type="cos", n_init=5)
        folded = raw.unflatten(2, (-1, 1)).flatten(1, 2)
        candidates["public"] = lambda: danet(None, V=folded, weight=magnitudes.unsqueeze(1), n_sources=3)
    with torch.no_grad():
        show("Clustering at inference, 3 speakers", interleaved(candidates, options.rounds), "ours")


def head(public, losses, options, device):
    """From the network's output to SANet's speaker and compactness losses, and back to the network's output."""
    raw, magnitudes, ideal, speakers = scene(options.batch, options.bins, 32, 2, device)
    weights = magnitudes / magnitudes.sum(1, keepdim=True)
    batch = MixtureBatch([""] * options.batch, magnitudes, None, speakers, None)
    attractors, similarity, circle, compact = IdealAttractors(), Cosine(), SpeakerLoss(CircleLoss()), Compactness(1.0)

    def ours():
        embeddings = Embeddings.of(raw.mT, unit_norm=True)
        found = attractors(embeddings, weights, ideal, 2)
        separation = AttractorSeparation(None, (), embeddings, found, None, weights, ideal)
        masks = similarity.masks(similarity(embeddings, found))
        return masks.square().mean() + (circle(separation, batch) + compact(separation, batch)).mean()

    def theirs():
        danet = public.DANet(embed_dim=32, V_activate=False, V_norm=True, da_sim="cos", alpha=10.0)
        folded = raw.unflatten(2, (-1, 1)).flatten(1, 2)
        masks, embeddings, found = danet(None, ideal, weights.unsqueeze(1), V=folded)
        positive, negative = losses.convert_label_to_similarity(found.view(-1, 32), speakers.view(-1))
        still = normalize(found.detach(), dim=2)
        near = -weights.unsqueeze(1) * torch.where(ideal > 0.5, ideal, 0) * (still @ normalize(embeddings, dim=1))
        return masks.square().mean() + losses.CircleLoss(0.25, 15)(positive, negative) + near.sum((1, 2)).mean()

    candidates = {"ours": ours} | ({"public": theirs} if public else {})
    values = {name: run().item() for name, run in candidates.items()}
    medians = interleaved({name: lambda r=run: r().backward() for name, run in candidates.items()}, options.rounds)
    show("Attractor head with losses, forward and backward", medians, "ours")
    for name, run in candidates.items():
        print(f"  {name:44s} keeps {saved_bytes(run, [raw]) / 2**20:8.1f} MB, loss {values[name]:.5f}")


def main():
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--public_sanet", help="a checkout of github.com/fjiang9/sanet")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--bins", type=int, default=64000, help="bins a mixture: filters times frames")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    public, losses = load_public(options.public_sanet) if options.public_sanet else (None, None)
    print(f"batch {options.batch}, {options.bins} bins, {device}, {options.threads} threads")
    training_step(options, device)
    unrolled(public, options, device)
    inference(public, options, device)
    head(public, losses, options, device)


if __name__ == "__main__":
    main()
