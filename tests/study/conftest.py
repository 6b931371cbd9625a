"""A repository with a study of a few rows; recipes are stood in for by a script that only writes files."""

import textwrap

import pytest

from sb_ext.study.rows import read_rows
from sb_ext.study.training import Place

ROWS = """
defaults: {recipe: Fake, budget: mini, overrides: {num_epochs: 9, part: {a: 1}}}
corpora:
    digits: {about: real speech, librispeech_folder: ../data/Digits}
    tiny: {about: synthetic speech}
rows:
    - {name: pit, yaml: pit, corpus: tiny, seeds: [0, 1], overrides: {part: {b: 2}}}
    - {name: later, yaml: pit, corpus: tiny, needs: pit, overrides: {pretrained: "{needs}/model"}}
    - {name: digits, label: On digits, yaml: pit, corpus: digits, steps: 20}
    - {name: heard, module: fake_pretrain, corpus: digits, steps: 20, overrides: {width: 3}}
    - name: both
      yaml: pit
      corpus: digits
      needs: {start: digits, ears: heard}
      overrides: {pretrained: "{start}", part: {loss: "{ears}/model"}}
      seeds: [0, 9]
"""

# Notes how it was called, trains for two lines of a curve, and tests. DELAY: seconds that it goes on training after.
FAKE = """
import json, os, sys, time
words = sys.argv[1:]
options = {word: words[place + 1] for place, word in enumerate(words[:-1]) if word.startswith("--")}
folder = options["--output_folder"]
with open(os.path.join(folder, "calls.jsonl"), "a") as file:
    file.write(json.dumps(words) + "\\n")
with open(os.path.join(folder, "pid.txt"), "w") as file:
    file.write(str(os.getpid()))
if os.environ.get("FAIL") == options["--seed"]:
    sys.exit("ValueError: batch_size: no such luck")
if "--test_only" not in words:
    with open(os.path.join(folder, "curve.csv"), "w") as file:
        file.write("epoch,steps,seconds,train_cycle,valid_si_snri\\n1,10,30,0.0,1.0\\n2,20,90,1.0,2.5\\n")
    time.sleep(float(os.environ.get("DELAY", 0)))
summary = {"metrics": {"si_snri": {"mean": 2.5, "std": 1.0, "count": 4}}, "stats": {"si_snri_oracle": float("nan")}}
summary |= {"steps": 20, "seconds": 90, "device": "cuda:0", "finished": "2026-01-02 03:04:05"}
with open(os.path.join(folder, "self_evaluation.json"), "w") as file:
    json.dump({"si_snri": {"mean": 2.4}, "swap_gap": 0.5, "plausible": True, "ground_truth": {"mean": 2.6}}, file)
with open(os.path.join(folder, "test_summary.json"), "w") as file:
    json.dump(summary, file)
"""


@pytest.fixture
def rows_with(tmp_path):
    """The rows of ROWS with some text in another's place, in a repository with one pretended recipe."""
    root = tmp_path / "repository"
    budgets = root / "recipes" / "blocks" / "budgets"
    for folder in (root / "recipes" / "Fake" / "hparams", root / "study", budgets):
        folder.mkdir(parents=True)
    (root / "recipes" / "Fake" / "hparams" / "pit.yaml").write_text("seed: 1\nbatch_size: 4\nloss: null\n")
    (root / "recipes" / "Fake" / "train.py").write_text(FAKE)
    (budgets / "mini.yaml").write_text("batch_size: 8\nloss: !new:a.B  # why\n")

    def write(old="", new=""):
        assert old in ROWS
        (root / "study" / "rows.yaml").write_text(textwrap.dedent(ROWS.replace(old, new)))
        return read_rows(root / "study" / "rows.yaml", root)

    return write


@pytest.fixture
def rows(rows_with):
    """The rows of ROWS."""
    return rows_with()


@pytest.fixture
def place(rows, tmp_path):
    """Where they are trained."""
    return Place(str(tmp_path / "repository"), "results/study")
