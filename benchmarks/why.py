"""Why a figure of the study is what it is: ``python benchmarks/why.py QUESTION RECIPE.yaml [--key value ...]``.

The words behind the question are those of a training, with its trained model as ``--pretrained``. QUESTION is one of

outputs     what each output is made of: the two sources and the rest of the mixture (noise), on REAL-M's stand-in
            ``--weights FILE`` takes the weights of a checkpoint, save/CKPT.../separator.ckpt, in place of the best ones
gradients   how much of a training step's gradient is the perceptual loss's, and the distances that it measures
embeddings  what conditioning makes of its embeddings: SI-SNR improvement with its own, with the true sources', with
            those of other mixtures, and with none that tells the speakers apart
"""

import argparse

import torch
from inference import improvement, mixtures

from sb_ext.assignment import best_permutation, reorder
from sb_ext.command import parse
from sb_ext.configuration import load_weights
from sb_ext.data.recipes import prepare_recordings
from sb_ext.experiment import load_hparams
from sb_ext.losses import NegSISDR


def main():
    """Answer one question."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    questions = {"outputs": outputs, "gradients": gradients, "embeddings": embeddings}
    parser.add_argument("question", choices=questions)
    parser.add_argument("--weights", help="of a checkpoint")
    options, words = parser.parse_known_args()
    hparams = load_hparams(parse([*words, "--output_folder", "results/why"]))
    separator = hparams["separator"]["model"]
    if options.weights:
        separator.load_state_dict(torch.load(options.weights, weights_only=True))
    elif hparams["pretrained"]:
        load_weights(separator, hparams["pretrained"])
    questions[options.question](separator, hparams)


@torch.no_grad()
def outputs(separator, hparams, count=40):
    """Least squares of each output on the parts of the mixture; means over mixtures."""
    separator.eval()
    store, shares = prepare_recordings(hparams)["valid"], []
    for index in range(min(count, len(store))):
        mixture, sources = (torch.from_numpy(part) for part in store.read(index))
        parts = torch.stack([*sources, mixture - sources.sum(0)], 1)
        found = torch.linalg.lstsq(parts, separator(mixture[None]).sources[0].mT).solution.mT
        level = 10 * torch.log10(parts[:, 2].square().sum() / parts[:, :2].sum(1).square().sum())
        shares.append(torch.cat([found.flatten(), level[None]]))
    one, two, level = torch.stack(shares).mean(0).split([3, 3, 1])
    print(f"{len(shares)} mixtures, the rest at {level.item():.1f} dB of the speech")
    for name, weights in (("first", one), ("second", two)):
        print("{} output: {:.2f} s1 + {:.2f} s2 + {:.2f} rest".format(name, *weights.tolist()))


def gradients(separator, hparams, size=16, seconds=2):
    """Norms of the mean gradients of both parts of the loss, for one batch."""
    sources = speech(hparams, size, seconds)
    separator.train()
    estimates, loss = separator(sources.sum(1)).sources, NegSISDR()
    estimates = reorder(estimates, best_permutation(loss.scores(estimates, sources)))
    basic = loss(estimates, sources).mean(1)
    auxiliary = hparams["objective"].auxiliary
    whole, log = auxiliary(basic, [estimates], sources, torch.ones(size, dtype=torch.bool))
    added = (whole - auxiliary.basic_weight * basic).mean()
    first, second = (
        torch.cat([part.flatten() for part in torch.autograd.grad(one, separator.parameters(), retain_graph=True)])
        for one in (basic.mean(), added)
    )
    measured = ", ".join(f"{name} {float(value):.4f}" for name, value in log.items())
    print(f"SI-SDR loss {basic.mean().item():.2f} dB, {measured}")
    cosine = torch.nn.functional.cosine_similarity(first, second, dim=0).item()
    print(f"gradients: SI-SDR {first.norm():.3f}, perceptual {second.norm():.3f}, cosine {cosine:.2f}")
    targets = auxiliary.representation.of_targets(sources.flatten(0, 1)).unflatten(0, sources.shape[:2])
    apart = (targets[:, 0] - targets[:, 1]).square().mean().item()
    print(f"two voices are {apart:.4f} apart; an estimate with the other voice at")
    for level in (0, 5, 10, 15):
        mixed = auxiliary.representation.of_targets(sources[:, 0] + 10 ** (-level / 20) * sources[:, 1])
        print(f"  -{level:2d} dB is {(mixed - targets[:, 0]).square().mean().item() / apart:.2f} of that from its own")


@torch.no_grad()
def embeddings(separator, hparams, count=100, seconds=4, size=20):
    """SI-SNR improvement of the second stack, told different things."""
    separator.eval()
    sources = speech(hparams, count, seconds)
    mixture = sources.sum(1)

    def in_parts(function, *signals):
        return torch.cat([function(*part) for part in zip(*(signal.split(size) for signal in signals), strict=True)])

    def separated(mixture, told):
        code = separator.filterbank.encode(mixture)
        features = separator.features(separator.stack(code, told), code.unsqueeze(1))
        return separator.filterbank.decode(features, mixture.shape[-1])

    first = in_parts(lambda one: separator.basic(one).sources, mixture)
    own, true = in_parts(separator.embedding, first), in_parts(separator.embedding, sources)
    print(f"first separator                     {improvement(first, sources):6.2f} dB")
    told = {"its estimates' embeddings": own, "the true sources' embeddings": true}
    told |= {"those of other mixtures": own.roll(1, 0), "their mean": own.mean(1, keepdim=True).expand_as(own)}
    for name, one in told.items():
        print(f"second, {name:28s}{improvement(in_parts(separated, mixture, one), sources):6.2f} dB")


def speech(hparams, count, seconds):
    """Mixtures' sources ``[count, 2, T]``, of the test speakers."""
    return torch.cat(list(mixtures(hparams["librispeech_folder"], hparams["sample_rate"], count, seconds)))


if __name__ == "__main__":
    main()
