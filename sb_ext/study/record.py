"""One small JSON a row: what was trained, and what came out. Small enough to commit."""

import json
import math
import time
from importlib.metadata import version
from pathlib import Path

from sb_ext.atomic import write_text
from sb_ext.evaluation.test_sets import FOLDER as TEST_SETS
from sb_ext.recorder import read_curve
from sb_ext.study.checks import StudyError
from sb_ext.study.command_line import shown
from sb_ext.study.training import read_note

CURVE = ("valid_si_snri", "valid_self_evaluation", "valid_same_index", "valid_switching", "train_dropped")
CURVE += ("valid_eer", "accuracy", "train_cycle")
CURVE_POINTS = 40
TESTED = ("si_snr", "si_snri", "sdr", "sdri", "stoi", "pesq")
SELF_EVALUATED = ("same_index", "swap_gap", "plausible", "ground_truth", "correlation")
ATTRACTORS = ("ideal", "fixed", "euclidean", "spherical")
SHARES = ("stoi", "count_accuracy", "eer", "accuracy", "chance")
OTHERS = (*(f"si_snri_{name}" for name in ATTRACTORS), "count_accuracy", "leakage", "eer", "accuracy", "chance")


def collect(row, folder, root, threads):
    """The record of a finished training.

    Arguments
    ---------
    row : Row
    folder : path
        Its training folder.
    root : path
        The repository's root.
    threads : int
        That it ran with.

    Returns
    -------
    dict
    """
    summary = _json(Path(folder, "test_summary.json"))
    return {
        "id": row.id,
        "name": row.name,
        **row.configuration,
        "needs": [needed.id for needed in row.needs.values()],
        "fingerprint": row.fingerprint,
        "command": shown(row, root),
        "steps": summary["steps"],
        "step_limit": row.steps,
        "minutes": round(summary["seconds"] / 60, 2),
        "minute_limit": row.minutes,
        "machine": {"device": summary["device"].partition(":")[0], "threads": threads, "torch": version("torch")},
        "commit": ", ".join(read_note(folder)["commits"]) or "unknown",
        "date": summary.get("finished", "")[:10] or time.strftime("%Y-%m-%d"),
        "figures": figures(folder),
        **curve(folder),
    }


def figures(folder):
    """Name to figure of a tested training: means over the test mixtures, None for those that were not measured.

    dB, but for ``stoi``, ``pesq``, ``correlation``, ``plausible`` (a bool) and ``mixtures`` (how many were tested).
    """
    summary = _json(Path(folder, "test_summary.json"))
    found = _json(Path(folder, "self_evaluation.json")) if Path(folder, "self_evaluation.json").is_file() else {}
    metrics = summary.get("metrics", {})
    tested = {name: _mean(metrics.get(name)) for name in TESTED}
    improvement = metrics.get("si_snri", {})
    return {
        **tested,
        "si_snri_std": _finite(improvement.get("std")),
        "mixtures": improvement.get("count"),
        "si_snri_oracle": _mean(summary.get("stats", {}).get("si_snri_oracle")),
        "self_evaluation": _mean(found.get("si_snri")),
        **{name: _mean(found.get(name)) for name in SELF_EVALUATED},
        **_assignment(folder),
        **_test_sets(folder),
        **_others(summary.get("stats", {})),
    }


def _test_sets(folder):
    """``test_sets``: name to mean and standard error of the improvements and number of mixtures; not there if none."""
    sets = {}
    for path in sorted(Path(folder, TEST_SETS).glob("*/test_summary.json")):
        summary = _json(path)
        metrics, counted = summary.get("metrics", {}), _finite(summary.get("stats", {}).get("count_accuracy"))
        sets[path.parent.name] = {
            name: {key: _finite(metrics[name].get(key)) for key in ("mean", "sem", "count")}
            for name in ("si_snri", "sdri")
            if name in metrics
        }
        sets[path.parent.name] |= {} if counted is None else {"count_accuracy": counted}
    flat = {f"si_snri_{name}": found["si_snri"]["mean"] for name, found in sets.items() if "si_snri" in found}
    return {TEST_SETS: sets, **flat} if sets else {}


def _others(stats):
    """Figures that only some recipes give; not there if none."""
    return {name: _finite(stats[name]) for name in sorted(stats) if name in OTHERS}


def _assignment(folder):
    """What label switching and sample dropout left, in percent and as means over the epochs.

    ``switched`` and ``dropped`` are shares of the mixtures, ``decoupling`` is how far the first layer's switching curve
    is from the last layer's.
    """
    rows = read_curve(str(Path(folder, "curve.csv")))
    switched = _percent(rows, "valid_switching")
    dropped = None if switched is None else _percent(rows, "train_dropped")
    distances = read_curve(str(Path(folder, "layer_decoupling.csv")))
    apart = [100 * float(row["distance"]) / int(row["epochs"]) for row in distances[:1]]
    return {"switched": switched, "dropped": dropped, "decoupling": round(apart[0], 3) if apart else None}


def _percent(rows, column):
    values = [value for value in (_decimal(row.get(column)) for row in rows) if value is not None]
    return round(100 * sum(values) / len(values), 3) if values else None


def curve(folder):
    """``curve_columns``, steps and those of CURVE that were measured, and ``curve``, one row a point.

    At most CURVE_POINTS, the first and the last among them.
    """
    rows = read_curve(str(Path(folder, "curve.csv")))
    measured = [name for name in CURVE if any(_decimal(row.get(name)) is not None for row in rows)]
    if len(rows) > CURVE_POINTS:
        stride = (len(rows) - 1) / (CURVE_POINTS - 1)
        rows = [rows[round(place * stride)] for place in range(CURVE_POINTS)]
    points = [[int(row["steps"]), *(_decimal(row.get(name)) for name in measured)] for row in rows]
    return {"curve_columns": ["steps", *measured], "curve": points}


def write_record(record, folder):
    """Write ``<id>.json`` into the folder of results, one key a line and one point of the curve a line."""
    fields = [f' "{key}": {json.dumps(value, allow_nan=False)}' for key, value in record.items() if key != "curve"]
    points = ",\n".join(f"  {json.dumps(point, allow_nan=False)}" for point in record["curve"])
    text = "{\n" + ",\n".join([*fields, f' "curve": [\n{points}\n ]']) + "\n}\n"
    write_text(Path(folder, f"{record['id']}.json"), text)


def read_records(folder):
    """Row id to record, of every JSON in a folder of results, shares in percent; none where there is no folder.

    Raises
    ------
    StudyError
        For a file that is no record.
    """
    records = {}
    for path in sorted(Path(folder).glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            figures = {**record["figures"], **last_point(record)}
            records[record["id"]] = {**record, "figures": {name: _shown(name, one) for name, one in figures.items()}}
        except (ValueError, KeyError, TypeError) as error:
            raise StudyError(f"{path}: no record of a row ({error!r}); restore it or remove it") from None
    return records


def _shown(name, value):
    return 100 * value if name in SHARES and value is not None else value


def last_point(record):
    """The last validation's figures: a collapse shows here, since the test takes the best checkpoint.

    Example
    -------
    >>> last_point({"curve_columns": ["steps", "valid_si_snri"], "curve": [[250, 3.1], [500, -17.7]]})
    {'last_si_snri': -17.7}
    """
    if not record.get("curve"):
        return {}
    point = dict(zip(record["curve_columns"], record["curve"][-1], strict=True))
    figures = {"last_si_snri": point.get("valid_si_snri"), "last_self_evaluation": point.get("valid_self_evaluation")}
    return {name: value for name, value in figures.items() if value is not None}


def state(row, records):
    """``missing``, ``done``, or ``changed`` where the record is of another configuration."""
    if row.id not in records:
        return "missing"
    return "done" if records[row.id].get("fingerprint") == row.fingerprint else "changed"


def _json(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _mean(entry):
    return _finite(entry.get("mean") if isinstance(entry, dict) else entry)


def _finite(value):
    if isinstance(value, bool):
        return value
    return round(value, 4) if isinstance(value, (int, float)) and math.isfinite(value) else None


def _decimal(text):
    return round(float(text), 3) if text and math.isfinite(float(text)) else None
