"""The lists that SpeechBrain's own recipe tests read."""

import csv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTS = sorted((ROOT / "tests" / "recipes").glob("*.csv"))
COLUMNS = [
    "Task", "Dataset", "Script_file", "Hparam_file", "Data_prep_file", "Readme_file", "Result_url", "HF_repo",
    "test_debug_flags", "test_debug_checks", "performance",
]  # fmt: skip


def rows_of(path):
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        assert reader.fieldnames == COLUMNS
        return list(reader)


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
def test_every_file_named_is_there(path):
    for row in rows_of(path):
        assert row["Dataset"] == path.stem
        for column in ("Script_file", "Hparam_file", "Data_prep_file", "Readme_file"):
            assert (ROOT / row[column]).is_file(), row[column]
        assert row["test_debug_flags"] and row["test_debug_checks"].startswith("file_exists=[")


def test_every_recipe_is_listed_once():
    listed = [row["Hparam_file"] for path in LISTS for row in rows_of(path)]
    there = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("recipes/*/hparams/*.yaml")]
    assert sorted(listed) == sorted(there)
