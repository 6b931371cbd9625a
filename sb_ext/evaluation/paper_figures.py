"""The papers' own results, from ``paper_figures.yaml``, for showing beside measured ones."""

import functools
from dataclasses import dataclass
from importlib import resources

import yaml

# words in a data label that say it is not the paper's corpus, even where it borrows the corpus' name
OTHER_CORPORA = ("synthetic", "embedded", "mini", "digits", "stand-in for")


@dataclass(frozen=True)
class PaperFigure:
    """One printed figure: ``mean`` and, where the paper gives it, ``std``, in ``unit``.

    ``corpora`` are words, in lower case, by which a data label may name the data; ``on_test`` is False for
    validation sets; ``only_same`` figures say nothing beside other data. ``test_set`` and ``trained_on`` say of which
    test set and of whose training they are, where there are several.
    """

    paper: str
    method: str
    dataset: str
    short_dataset: str
    metric: str
    unit: str
    mean: float
    std: float | None
    corpora: tuple
    on_test: bool
    only_same: bool
    test_set: str | None = None
    trained_on: str | None = None

    def __str__(self):
        known = [value for value in (self.mean, self.std) if value is not None]
        # as printed: 4.0 beside 11.9, 15.13 as it is
        decimals = max(1, *(len(f"{value:g}".partition(".")[2]) for value in known))
        return " ± ".join(f"{value:.{decimals}f}" for value in known)


@functools.cache
def load():
    """The whole of ``paper_figures.yaml`` as nested dicts.

    Example
    -------
    >>> load()["papers"]["mixcycle"]["results"]["pit"]["librimix_5"]["si_snri"]
    {'mean': 7.1, 'std': 5.0}
    """
    return yaml.safe_load(resources.files("sb_ext.evaluation").joinpath("paper_figures.yaml").read_text("utf-8"))


def matches(experiment, data=""):
    """The (paper, method) keys whose figures stand beside an experiment of this name.

    Of several papers that know it, those whose corpus the data label names, be it a stand-in; without any, the first.

    Example
    -------
    >>> matches("Pit-DM"), matches("my own idea")
    ([('mixcycle', 'pit_dm')], [])
    >>> matches("danet", "LibriMix in /data"), matches("danet", "stand-in for WSJ0-mix made of digits")
    ([('speaker_attractor_network', 'danet')], [('kmeans_danet', 'danet_spherical')])
    """
    name = experiment.strip().lower().replace("-", "_").replace(" ", "_")
    papers = load()["papers"]
    found = {key: paper["match"][name] for key, paper in papers.items() if name in paper.get("match", {})}
    named = [pair for pair in found.items() if any(word in data.lower() for word in papers[pair[0]]["corpora"])]
    return named or list(found.items())[:1]


def figures(paper, method=None, metric=None):
    """The printed figures of one paper, all of them or those of one method or metric, as a list of PaperFigure.

    Example
    -------
    >>> [(figure.short_dataset, str(figure)) for figure in figures("mixcycle", "mixcycle", "si_snri")][:2]
    [('100 %', '11.4 ± 3.3'), ('5 %', '11.2 ± 3.5')]
    """
    about = load()["papers"][paper]
    return [
        _figure(about, name, dataset, measure, value)
        for name, by_dataset in about["results"].items()
        for dataset, by_metric in by_dataset.items()
        for measure, value in by_metric.items()
        if method in (None, name) and metric in (None, measure)
    ]


def _figure(about, method, dataset, metric, value):
    value = value if isinstance(value, dict) else {"mean": value}
    data = about["datasets"][dataset]
    return PaperFigure(
        paper=about["title"],
        method=about["methods"][method],
        dataset=data["name"],
        short_dataset=data["short"],
        metric=metric,
        unit=load()["units"][metric],
        mean=value["mean"],
        std=value.get("std"),
        corpora=tuple(data.get("corpora", about["corpora"])),
        on_test=data.get("test", True),
        only_same=data.get("only_same", False),
        test_set=data.get("test_set"),
        trained_on=data.get("trained_on"),
    )


def same_corpus(figure, data):
    """Whether a run's data label names the corpus of a printed figure and nothing else.

    Example
    -------
    >>> printed = figures("mixcycle", "mixcycle")[0]
    >>> same_corpus(printed, "Libri2Mix 8k min"), same_corpus(printed, "embedded corpus, LibriMix layout")
    (True, False)
    """
    data = data.lower()
    return any(name in data for name in figure.corpora) and not any(name in data for name in OTHER_CORPORA)
