"""The report's tables, as text cells that Markdown and HTML show alike."""

import html
import math
from dataclasses import dataclass
from typing import NamedTuple

from sb_ext.evaluation import paper_figures
from sb_ext.evaluation.metrics import summarize

ABSENT = "not there"
# column of the table -> (heading, decimals)
MEASURED = {"si_snri": ("SI-SNRi (dB)", 2), "sdri": ("SDRi (dB)", 2), "stoi": ("STOI", 3), "pesq": ("PESQ", 2)}

REMIXED = ("si_snri", "same_index", "cross_index", "swap_gap")


class Cell(NamedTuple):
    """Text, and what kind it is: ``absent``, ``good``, ``warn``, ``number`` or nothing."""

    text: str
    kind: str = ""


ABSENT_CELL = Cell(ABSENT, "absent")


@dataclass
class Table:
    """Headings and rows of cells; the first cell of a row names it. ``runs[i]`` is the run that row i belongs to."""

    headings: list
    rows: list
    runs: list

    def markdown(self):
        """The table in Markdown, everything in it escaped.

        Example
        -------
        >>> print(Table(["run", "dB"], [[Cell("<a|b>"), Cell("1.0", "number")]], [0]).markdown())
        | run | dB |
        | --- | --- |
        | &lt;a\\|b&gt; | 1.0 |
        """
        lines = [map(markdown_text, self.headings), ["---"] * len(self.headings)]
        lines += [[markdown_text(cell.text) for cell in row] for row in self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_text(text):
    """``text`` on one line, without anything that Markdown or HTML would take for markup."""
    text = html.escape(" ".join(str(text).split()), quote=False)
    for sign in "\\|*`":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("](", "]\\(")


def comparison(runs):
    """One row a run: test metrics, self-evaluation, the paper's SI-SNRi, and what the training took."""
    headings = ["Run", "Data", *(heading for heading, _ in MEASURED.values())]
    headings += ["Self-evaluation (dB)", "Paper's SI-SNRi (dB)", "Mixtures", "Steps", "Minutes"]
    rows = []
    for run in runs:
        scores = measured(run)
        rows.append(
            [
                Cell(run.label),
                data_cell(run),
                *(_spread(scores.get(name), digits) for name, (_, digits) in MEASURED.items()),
                _self_evaluation(run.self_evaluation),
                _paper(run),
                _count(scores),
                _number(_taken(run, "steps"), "{:,.0f}"),
                _number(_taken(run, "seconds") / 60, "{:,.1f}"),
            ]
        )
    return Table(headings, rows, list(range(len(runs))))


def measured(run):
    """Metric name to its summary: the one written with the test, or else computed from its rows."""
    written = run.summary.get("metrics")
    if isinstance(written, dict) and written:
        return written
    if not run.rows:
        return {}
    return {name: summarize(run.column("rows", name)) for name in run.rows[0] if name in MEASURED}


def data_cell(run):
    """What a run was trained and tested on, as its configuration says."""
    return Cell(run.data) if run.data else ABSENT_CELL


def _spread(scores, digits):
    if not isinstance(scores, dict) or not is_number(scores.get("mean")):
        return ABSENT_CELL
    text = f"{scores['mean']:.{digits}f}"
    if is_number(scores.get("std")):
        text += f" ± {scores['std']:.{digits}f}"
    missing = scores.get("missing")
    return Cell(f"{text} ({missing} missing)" if missing else text, "number")


def _count(scores):
    counts = [entry["count"] for entry in scores.values() if isinstance(entry, dict) and is_number(entry.get("count"))]
    return _number(max(counts, default=math.nan), "{:,.0f}")


def _number(value, form):
    return Cell(form.format(value), "number") if is_number(value) else ABSENT_CELL


def is_number(value):
    """Whether ``value`` is a finite number; files may hold anything."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _taken(run, name):
    """Steps or seconds of the whole training: the last known in the curve, or else the test summary's."""
    known = [value for value in run.column("curve", name) if is_number(value)]
    value = known[-1] if known else run.summary.get(name)
    return value if is_number(value) else math.nan


def _self_evaluation(found):
    if not found:
        return ABSENT_CELL
    text = interval(found.get("si_snri"))
    if "plausible" not in found:
        return Cell(text)
    return Cell(f"{text}, plausible", "good") if found["plausible"] else Cell(f"{text}, not plausible", "warn")


def interval(entry):
    """``6.10 [5.90, 6.30]`` from {"mean", "ci95"}, a plain number, or whatever else was written.

    Example
    -------
    >>> interval({"mean": 6.1, "ci95": [5.9, 6.3]}), interval(0.5), interval(None)
    ('6.10 [5.90, 6.30]', '0.50', 'not there')
    """
    if is_number(entry):
        return f"{entry:.2f}"
    if not isinstance(entry, dict):
        return ABSENT if entry is None or isinstance(entry, float) else str(entry)
    if "mean" not in entry:
        known = (f"{name} {interval(value)}" for name, value in entry.items() if value is not None)
        return ", ".join(known) or ABSENT
    if not is_number(entry["mean"]):
        return ABSENT
    bounds = entry.get("ci95")
    if isinstance(bounds, (list, tuple)) and len(bounds) == 2 and all(map(is_number, bounds)):
        return f"{entry['mean']:.2f} [{bounds[0]:.2f}, {bounds[1]:.2f}]"
    return f"{entry['mean']:.2f}" + (f" ± {entry['std']:.2f}" if is_number(entry.get("std")) else "")


def _paper(run):
    printed = [
        figure
        for paper, method in paper_figures.matches(run.experiment, run.data)
        for figure in paper_figures.figures(paper, method, "si_snri")
        if figure.on_test
    ]
    return Cell(" · ".join(f"{figure} ({figure.short_dataset})" for figure in printed) or "none", "number")


def beside_the_paper(runs):
    """One row for each SI-SNRi and self-evaluation figure that the paper prints of a run's method."""
    headings = ["Run", "Measured on", "Measure (dB)", "Measured", "The paper's", "The paper's data", "Data"]
    rows, belongs = [], []
    for number, run in enumerate(runs):
        printed = [
            figure
            for paper, method in paper_figures.matches(run.experiment, run.data)
            for figure in paper_figures.figures(paper, method)
        ]
        for figure in printed:
            same = paper_figures.same_corpus(figure, run.data)
            measure, own = _counterpart(run, figure)
            if own is None or (figure.only_same and not same):
                continue
            differ = Cell("same corpus by name", "good") if same else Cell("differ", "warn")
            theirs = [Cell(str(figure), "number"), Cell(figure.dataset), differ]
            rows.append([Cell(run.label), data_cell(run), Cell(measure), own, *theirs])
            belongs.append(number)
    return Table(headings, rows, belongs)


def _scores_on(run, test_set):
    """The metrics on a further test set, or the run's own where it is of that many speakers."""
    count = (test_set or "").removesuffix("mix")
    if test_set is None or f", {count} speakers" in run.data:
        return measured(run)
    return run.test_sets.get(test_set, {}).get("metrics") or {}


def _counterpart(run, figure):
    # what of the run answers to a printed figure: a name and a cell, or None where nothing does
    if figure.metric == "si_snri" and figure.on_test:
        scores = _scores_on(run, figure.test_set).get("si_snri")
        trained_so = figure.trained_on is None or f", {figure.trained_on}" in run.data
        return "SI-SNRi, test", _spread(scores, 2) if trained_so and (scores or figure.test_set is None) else None
    found = {"si_snri": "ground_truth", "self_evaluation": "si_snri"}.get(figure.metric)
    if found not in run.self_evaluation:
        return "", None
    name = "self-evaluation" if figure.metric == "self_evaluation" else "SI-SNRi, validation"
    return name, Cell(interval(run.self_evaluation[found]), "number")


def self_evaluations(runs):
    """One row a run that was evaluated without references."""
    headings = ["Run", "SI-SNRi (dB)", "Same index (dB)", "Cross index (dB)", "Swap gap (dB)", "Plausible"]
    headings += ["Ground truth (dB)", "Correlation", "Repeats"]
    rows, belongs = [], []
    for number, run in enumerate(runs):
        found = run.self_evaluation
        if found:
            belongs.append(number)
            plausible = {"True": Cell("yes", "good"), "False": Cell("no", "warn")}
            rows.append(
                [
                    Cell(run.label),
                    *(Cell(interval(found.get(name)), "number") for name in REMIXED),
                    plausible.get(str(found.get("plausible")), ABSENT_CELL),
                    Cell(interval(found.get("ground_truth")), "number"),
                    Cell(interval(found.get("correlation")), "number"),
                    _number(found.get("repeats"), "{:,.0f}"),
                ]
            )
    return Table(headings, rows, belongs)
