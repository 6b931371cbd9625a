"""The study as a page of Markdown: the claims, the rows, and how to add one."""

from sb_ext.study.claims import CLOSE, NOT_RUN, judge
from sb_ext.study.record import ATTRACTORS, state
from sb_ext.study.statistics import Estimate, by_name

INTRODUCTION = """\
# The study

Written by `python -m sb_ext.study table`; changes by hand are lost. The rows are those of [rows.yaml](rows.yaml), the
claims those of [claims.yaml](claims.yaml), and the figures come from [results](results), one JSON a row, which is
committed, so that rows gather over time and machines.

These are small trainings on small data: **a figure here is no measurement of the paper's system.** What can be
compared is which method is ahead of which. The paper's figures are from LibriMix train-360 and REAL-M."""

CLAIMS = f"""\
## The paper's claims

*Reproduced*: with two seeds or more of every row, everything that the claim says holds by more than the standard error
of the difference; with two or three seeds that is a weak test. *Holds (one seed)*: it does by more than {CLOSE}, about
the error of rows with several seeds, and one seed cannot tell whether by chance. *Too close to tell*: by less than
that, up or down. *Not yet run*: a figure that it needs is not there. ± is the standard error over seeds."""

HOW_TO = """\
## How to add a row

1. Write it into [rows.yaml](rows.yaml): `name`, `recipe`, `yaml`, `corpus`, and `overrides` and `seeds` where they
   differ from the defaults. A row may start from another's trained model: `needs: NAME`, with `{needs}` in an override
   where that row's training folder goes. Folders are relative to the repository's root.
2. Run what has no result yet: `python -m sb_ext.study run`, or `--only NAME`, with `--workers N` for N at a time. It
   may be stopped and started again: finished rows are kept, the others resume. It runs on a GPU where there is one.
3. Where a claim depends on it, write that into [claims.yaml](claims.yaml).
4. `python -m sb_ext.study table`, and commit the JSON and this page.

A row whose configuration has changed is run again with `--again`; until then its old result is left out above. To run
an unchanged row again, remove its JSON and its folder in `results/study`."""

ROWS = """\
Means over seeds ± standard error. The test takes the checkpoint of the best validation; *at the end of training* is the
last validation's SI-SNRi, where a collapse shows. Self-evaluation and the truth beside it are of the same mixtures.
*On ...*: the same model on other test sets, stand-ins made of the corpus; *... attractors*: with these at inference.
*Switched*: share of training mixtures whose assignment differs from the epoch before; *dropped*: share of training
items left out; *layer 1 from last*: mean difference of these two layers' switching curves; means over the epochs.
*Leakage*: the other voice in an estimate beside its own. *Masked frames*: of unseen recordings, by 64 clusters."""

SETS = ("3mix", "4mix", "5mix", "sparse3mix", "sparse4mix", "sparse5mix")
FURTHER = {f"si_snri_{name}": f"on {name}" for name in SETS}
FURTHER |= {f"si_snri_{name}": f"{name} attractors" for name in ATTRACTORS}
FIGURES = {
    "SI-SNRi (dB)": "si_snri",
    "Oracle SI-SNRi (dB)": "si_snri_oracle",
    "Self-evaluation (dB)": "self_evaluation",
    "Truth beside it (dB)": "ground_truth",
    "At the end of training (dB)": "last_si_snri",
    "Switched (%)": "switched",
    "Dropped (%)": "dropped",
    "Layer 1 from last (%)": "decoupling",
    **{f"{words} (dB)": figure for figure, words in FURTHER.items()},
    "Counted right (%)": "count_accuracy",
    "STOI (%)": "stoi",
    "Leakage (dB)": "leakage",
    "Equal error rate (%)": "eer",
    "Masked frames right (%)": "accuracy",
    "By the commonest label (%)": "chance",
}
NAMES = {"si_snri": "", "si_snri_oracle": "oracle", "self_evaluation": "self-evaluation", "ground_truth": "truth"}
NAMES |= {"switched": "switched", "dropped": "dropped", "decoupling": "layer 1 from last"} | FURTHER
NAMES |= {"stoi": "STOI in percent", "leakage": "leakage"}
NAMES |= {"last_si_snri": "at the end", "last_self_evaluation": "self-evaluation at the end"}
HEADINGS = ("Method", "Row", "Seeds", *FIGURES, "Plausible", "Steps", "Minutes", "Device")


def page(rows, records, claims):
    """The whole page.

    Arguments
    ---------
    rows : list of Row
    records : dict
        From read_records.
    claims : list of Claim

    Returns
    -------
    str
        The same for the same rows, records and claims.
    """
    parts = [INTRODUCTION, CLAIMS, claims_table(rows, records, claims), "## The rows"]
    parts.append(ROWS)
    for corpus in dict.fromkeys(row.corpus for row in rows):
        parts += [f"### {corpus.name}", corpus.about, rows_table([r for r in rows if r.corpus is corpus], records)]
    left_out = _left_out(rows, records)
    if left_out:
        parts += ["## Left out", "\n".join(f"- {line}" for line in left_out)]
    return "\n\n".join([*parts, HOW_TO]) + "\n"


def claims_table(rows, records, claims):
    """One line a claim: the claim, the paper's figure, ours, the verdict."""
    found, labels = by_name(rows, records), {row.name: row.label for row in rows}
    lines = []
    for claim in claims:
        outcome = judge(claim, found, labels)
        corpus = claim.corpus or ", ".join(dict.fromkeys(r.corpus.name for r in rows if r.name in _names(claim)))
        ours = "; ".join(_ours(*operand, labels, value) for operand, value in outcome.figures.items())
        bold = outcome.verdict if outcome.verdict == NOT_RUN else f"**{outcome.verdict}**"
        lines.append((claim.text, f"{claim.paper} ({claim.source})", corpus, ours, f"{bold}: {outcome.detail}"))
    return markdown(("Claim", "The paper's", "Ours on", "Ours", "Verdict"), lines)


def rows_table(rows, records):
    """One line a row of one corpus, over its seeds."""
    lines = []
    for name in dict.fromkeys(row.name for row in rows):
        seeds = [row for row in rows if row.name == name]
        done = [records[row.id] for row in seeds if state(row, records) == "done"]
        first = (seeds[0].label, name, f"{len(done)} of {len(seeds)}")
        if not done:
            lines.append((*first, NOT_RUN, *[""] * (len(HEADINGS) - 4)))
            continue
        figures = [_over_seeds(done, figure) for figure in FIGURES.values()]
        lines.append((*first, *figures, _plausible(done), *_effort(done)))
    filled = [place for place in range(len(HEADINGS)) if any(line[place] != "" for line in lines)]
    return markdown([HEADINGS[place] for place in filled], [[line[place] for place in filled] for line in lines])


def markdown(headings, rows):
    """A table in Markdown.

    Example
    -------
    >>> print(markdown(("a", "b"), [("x|y", 1)]))
    | a | b |
    | --- | --- |
    | x\\|y | 1 |
    """
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(_cell(text) for text in line)} |" for line in lines)


def _cell(text):
    return " ".join(str(text).split()).replace("|", "\\|")


def _names(claim):
    return {row for row, _ in claim.operands}


def _ours(row, figure, labels, value):
    words = [labels.get(row, row), NAMES.get(figure, figure), str(value or "–")]
    return " ".join(word for word in words if word)


def _over_seeds(records, figure):
    values = [record["figures"].get(figure) for record in records]
    values = [value for value in values if value is not None]
    return Estimate.of(values).plain if values else ""


def _plausible(records):
    verdicts = [record["figures"].get("plausible") for record in records]
    verdicts = [verdict for verdict in verdicts if verdict is not None]
    return f"{sum(map(bool, verdicts))} of {len(verdicts)}" if verdicts else ""


def _effort(records):
    steps = sum(record["steps"] for record in records) / len(records)
    minutes = sum(record["minutes"] for record in records) / len(records)
    devices = sorted({record["machine"]["device"] for record in records})
    return f"{steps:,.0f}", f"{minutes:.1f}", ", ".join(devices)


def _left_out(rows, records):
    """Records that stand in no table, and why."""
    known = {row.id: row for row in rows}
    lines = [f"{name}: no row of this name and seed" for name in sorted(records) if name not in known]
    changed = [row.id for row in rows if state(row, records) == "changed"]
    return lines + [f"{name}: the row's configuration has changed since" for name in changed]
