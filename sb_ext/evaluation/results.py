"""Result folders: what a training writes beside its checkpoints, read back however much of it is there.

=====================  =====================================================================
``command.txt``        the command line
``config.json``        plain resolved values: experiment, seed, data, budget, objective, ...
``curve.csv``          one row an epoch: epoch, steps and seconds since the start, train_loss, valid_si_snri, ...
``test_metrics.csv``   one row a mixture, from :class:`sb_ext.evaluation.metrics.MetricTable`
``test_summary.json``  ``{"metrics": summary, "seconds": ..., "steps": ..., "device": ...}``
``self_evaluation.json``  self-evaluation without references
``label_switching.csv``  with ``layer_decoupling.csv``, from :mod:`sb_ext.evaluation.label_switching`
``embedding_pictures.npz``  from :mod:`sb_ext.evaluation.embedding_pictures`
``test_sets/<name>/``  test_metrics.csv and test_summary.json of a further test set
``audio/<id>/``        mixture.wav, estimate1.wav, ..., source1.wav, ...
=====================  =====================================================================
"""

import csv
import io
import json
import math
import os
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from sb_ext.evaluation.test_sets import FOLDER as TEST_SETS

MARKS = ("curve.csv", "test_metrics.csv", "test_summary.json", "self_evaluation.json")
NO_RUNS_WITHIN = {"audio", "save", TEST_SETS}
UNREADABLE = (OSError, ValueError, EOFError, csv.Error, zipfile.BadZipFile, zlib.error)
PICTURES = {"map", "speakers", "bins", "dominant", "choices", "chosen", "explained"}


@dataclass
class Run:
    """One training's results; what was not there is empty and named in ``notes``.

    Arguments
    ---------
    folder : Path
    label : str
        A short name, different for every run of one report.
    config, summary, self_evaluation : dict
        The JSON files' contents.
    curve, rows, switching, decoupling : list of dict
        The CSV files' rows: column name to float, or to text where it is no number.
    pictures : dict
        The arrays of ``embedding_pictures.npz``.
    test_sets : dict
        The name of each further test set to its test_summary.json.
    examples : dict
        Mixture id to {signal name: Path of its wav}.
    """

    folder: Path
    label: str
    command: str = ""
    config: dict = field(default_factory=dict)
    summary: dict = field(default_factory=dict)
    self_evaluation: dict = field(default_factory=dict)
    curve: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    switching: list = field(default_factory=list)
    decoupling: list = field(default_factory=list)
    pictures: dict = field(default_factory=dict)
    test_sets: dict = field(default_factory=dict)
    examples: dict = field(default_factory=dict)
    notes: list = field(default_factory=list)

    @property
    def experiment(self):
        """The experiment's name, or the folder's where no configuration was found."""
        return str(self.config.get("experiment") or self.folder.name)

    @property
    def data(self):
        """What it was trained and tested on, in the words of its configuration; '' where those are not there."""
        return str(self.config.get("data_description") or self.config.get("data") or "")

    def column(self, table, name):
        """Numbers of one column of a table such as ``curve``, NaN where a row has none."""
        values = (row.get(name) for row in getattr(self, table))
        return [value if isinstance(value, float) else math.nan for value in values]


def is_result_folder(folder):
    """Whether ``folder`` holds a run, finished or not. A lone config.json may belong to a pretrained model."""
    folder = Path(folder)
    started = (folder / "config.json").is_file() and (folder / "command.txt").is_file()
    return started or any((folder / name).is_file() for name in MARKS)


def find_runs(paths):
    """Result folders among and below ``paths``, each once, in the order given and then by name.

    Raises
    ------
    FileNotFoundError
        A path does not exist, or there is no result folder at or below it.

    Example
    -------
    >>> from sb_ext.atomic import write_text
    >>> folder = getfixture("tmp_path")
    >>> write_text(folder / "b" / "curve.csv", "epoch\\n1\\n")
    >>> write_text(folder / "a" / "test_summary.json", "{}")
    >>> [found.name for found in find_runs([folder / "b", folder])]
    ['b', 'a']
    """
    found = {}
    for path in map(Path, paths):
        if not path.is_dir():
            raise FileNotFoundError(
                f"{path}: no such folder; give a training's output folder or a folder above several"
            )
        here = [Path(folder) for folder in _walk(path) if is_result_folder(folder)]
        if not here:
            raise FileNotFoundError(
                f"{path}: no result folder here or below. Looked for {', '.join(MARKS)}, or config.json with "
                f"command.txt; give the output_folder of a training"
            )
        found.update({folder.resolve(): folder for folder in here})
    return list(found.values())


def _walk(path):
    for folder, below, _ in os.walk(path):
        below[:] = sorted(name for name in below if name not in NO_RUNS_WITHIN and not name.startswith("."))
        yield folder


def read_runs(paths):
    """Every run at or below ``paths`` as a list of :class:`Run` with distinct labels."""
    runs = [read_run(folder) for folder in find_runs(paths)]
    for distinguish in (_with_seed, _with_folder, None):
        counts = Counter(run.label for run in runs)
        for number, run in enumerate(runs, 1):
            if counts[run.label] > 1:
                run.label = distinguish(run) if distinguish else f"{run.label} · {number}"
    return runs


def _with_seed(run):
    return f"{run.experiment} · seed {run.config['seed']}" if "seed" in run.config else run.label


def _with_folder(run):
    return f"{run.label} · {run.folder.resolve().name}"


def read_run(folder):
    """What is there of the run in ``folder``, as a :class:`Run`. Missing or broken files only leave a note.

    Example
    -------
    >>> from sb_ext.atomic import write_text
    >>> folder = getfixture("tmp_path")
    >>> write_text(folder / "config.json", '{"experiment": "pit", "seed": 1}')
    >>> write_text(folder / "curve.csv", "epoch,steps\\n1,100\\n2,2")
    >>> run = read_run(folder)
    >>> run.label, run.column("curve", "steps"), run.notes[0]
    ('pit', [100.0, 2.0], 'command.txt: not there')
    """
    folder = Path(folder)
    run = Run(folder, folder.name)
    run.command = _read(run, "command.txt", lambda data: data.decode().strip(), "")
    run.config = _read(run, "config.json", _json_object, {})
    run.summary = _read(run, "test_summary.json", _json_object, {})
    run.self_evaluation = _read(run, "self_evaluation.json", _json_object, {})
    run.curve = _read(run, "curve.csv", _csv_rows, [])
    run.rows = _read(run, "test_metrics.csv", _csv_rows, [])
    run.switching = _read(run, "label_switching.csv", _csv_rows, [], optional=True)
    run.decoupling = _read(run, "layer_decoupling.csv", _csv_rows, [], optional=True)
    run.pictures = _read(run, "embedding_pictures.npz", _arrays, {}, optional=True)
    run.test_sets = _read_test_sets(run)
    run.examples = _read_examples(run)
    run.label = run.experiment
    return run


def _read(run, name, parse, nothing, optional=False):
    try:
        return parse((run.folder / name).read_bytes())
    except FileNotFoundError:
        if not optional:
            run.notes.append(f"{name}: not there")
    except UNREADABLE as error:
        run.notes.append(f"{name}: could not be read ({error})")
    return nothing


def _json_object(data):
    value = json.loads(data)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, received {type(value).__name__}")
    return value


def _csv_rows(data):
    header, *lines = list(csv.reader(data.decode().splitlines())) or [[]]
    # a shorter line is one that was being written when it was read
    whole = (line for line in lines if len(line) == len(header))
    return [{name: _number(name, text) for name, text in zip(header, line, strict=True)} for line in whole]


def _arrays(data):
    with np.load(io.BytesIO(data)) as file:
        missing = PICTURES - set(file)
        if missing:
            raise ValueError(f"expected the arrays {', '.join(sorted(missing))} as well")
        return {name: file[name] for name in PICTURES}


def _number(name, text):
    if name == "id":  # a mixture may be called 0012
        return text
    try:
        return float(text)
    except ValueError:
        return text


def _read_test_sets(run):
    """In the order of the configuration; a set that is not in it comes last."""
    names = sorted(path.name for path in (run.folder / TEST_SETS).glob("*") if path.is_dir())
    asked = run.config.get(TEST_SETS) or []
    names.sort(key=lambda name: asked.index(name) if name in asked else len(asked))
    return {name: _read(run, f"{TEST_SETS}/{name}/test_summary.json", _json_object, {}) for name in names}


def _read_examples(run):
    folders = sorted(folder for folder in (run.folder / "audio").glob("*") if (folder / "mixture.wav").is_file())
    if not folders:
        run.notes.append("audio: not there")
    return {folder.name: {wav.stem: wav for wav in sorted(folder.glob("*.wav"))} for folder in folders}
