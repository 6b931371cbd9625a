"""The report's part on further test sets: one model across numbers of speakers and overlaps."""

import math

from sb_ext.evaluation.report_tables import ABSENT_CELL, Cell, Table, is_number

TEST_SETS = "Mean ± standard error over the mixtures, each set with the checkpoint that validated best."
MEASURED = {"si_snri": "SI-SDRi (dB)", "sdri": "SDRi (dB)"}
# What a test's stats hold besides figures of further measurements
USUAL = ("si_snri", "seconds", "left_out")


def test_set_table(runs):
    """One row for each further test set of a run: improvements, what else was measured there, and how many mixtures."""
    more = [name for run in runs for one in run.test_sets.values() for name in _further(one)]
    more = list(dict.fromkeys(more))
    headings = ["Run", "Test set", *MEASURED.values(), *more, "Mixtures"]
    rows, belongs = [], []
    for number, run in enumerate(runs):
        for name, summary in run.test_sets.items():
            metrics = summary.get("metrics") or {}
            cells = [_with_error(metrics.get(metric)) for metric in MEASURED]
            cells += [_figure(_further(summary).get(figure)) for figure in more]
            count = max((one["count"] for one in metrics.values() if is_number(one.get("count"))), default=None)
            rows.append([Cell(run.label), Cell(name), *cells, _figure(count, "{:,.0f}")])
            belongs.append(number)
    return Table(headings, rows, belongs)


def _further(summary):
    stats = summary.get("stats") or {}
    return {name: value for name, value in stats.items() if name not in USUAL and is_number(value)}


def _with_error(scores):
    mean, error = ((scores or {}).get(key, math.nan) for key in ("mean", "sem"))
    if not is_number(mean):
        return ABSENT_CELL
    return Cell(f"{mean:.2f} ± {error:.2f}" if is_number(error) else f"{mean:.2f}", "number")


def _figure(value, form="{:.2f}"):
    return Cell(form.format(value), "number") if is_number(value) else ABSENT_CELL
