"""Reading the study's rows, and what stands on their command lines."""

import os

import pytest

from sb_ext.study.checks import StudyError
from sb_ext.study.command_line import words
from sb_ext.study.run import select


def test_rows_are_expanded_over_seeds_with_merged_overrides(rows):
    later = ["later-seed0", "digits-seed0", "heard-seed0", "both-seed0", "both-seed9"]
    assert [row.id for row in rows] == ["pit-seed0", "pit-seed1", *later]
    assert rows[0].overrides == {"num_epochs": 9, "part": {"a": 1, "b": 2}}
    assert (rows[0].label, rows[3].label, rows[3].steps, rows[2].needs) == ("pit", "On digits", 20, {"needs": rows[0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("budget: mini", "buget: mini"), "defaults: unknown key 'buget'; did you mean 'budget'"),
        (("label: On digits", "lable: On digits"), "row 3: unknown key 'lable'; did you mean 'label'"),
        (("name: later", "name: pit"), "row 'pit': a second row of this name"),
        (("corpus: digits", "corpus: digit"), "row 'digits': corpus: no 'digit' here; did you mean 'digits'"),
        (("needs: pit", "needs: pitt"), "no 'pitt' here; did you mean 'pit'"),
        (("needs: pit,", ""), "{needs} stands there and 'needs' names no row for it"),
        (("start: digits, ", ""), "row 'both': overrides: {start} stands there and 'needs' names no row for it"),
        (("module: fake_pretrain, ", ""), "row 4: 'yaml' is missing"),
        (("module: fake_pretrain, ", "module: fake_pretrain, budget: mini, "), "row 4: unknown key 'budget'"),
        (
            ("pretrain, corpus: digits", "pretrain, corpus: tiny"),
            "row 'heard': corpus: 'tiny' has no librispeech_folder",
        ),
        (("needs: {start: digits, ears: heard}", "needs: 3"), "needs: expected a row, or words with rows, received 3"),
        (("{needs}/model", "model"), "no override says where the folder goes"),
        (("seeds: [0, 1]", "seeds: [1, 2]"), "row 'later': seeds: 'pit' has no seed 0"),
        (("seeds: [0, 1]", "seeds: two"), "row 'pit': seeds: expected a list of whole numbers, received 'two'"),
        (("steps: 20", "steps: -1"), "row 'digits': steps: expected a whole number above 0, received -1"),
        (("steps: 20", "minutes: soon"), "row 'digits': minutes: expected a number above 0, received 'soon'"),
        (("num_epochs: 9", "seed: 9"), "overrides: seed is set by the study"),
        (("budget: mini", "budget: minni"), "no 'minni' here; did you mean 'mini'"),
        (("about: synthetic speech", "corpus: tiny"), "tiny: 'about' is missing"),
        (('"{needs}/model"', "!new:a.B"), 'a class is written in quotes: "!new:package.Class"'),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(rows_with, change, message):
    with pytest.raises(StudyError) as caught:
        rows_with(*change)
    assert message in str(caught.value)


def test_the_fingerprint_follows_the_configuration_and_not_the_place_of_a_corpus(rows, rows_with):
    def fingerprints(*change):
        return [row.fingerprint for row in rows_with(*change)]

    before = [row.fingerprint for row in rows]
    assert fingerprints("../data/Digits", "/elsewhere/Digits") == before
    assert fingerprints("../data/Digits", "../data/Letters")[3] != before[3]
    assert fingerprints("steps: 20", "steps: 30")[:3] == before[:3]
    assert fingerprints("steps: 20", "steps: 30")[3] != before[3]
    assert fingerprints("b: 2", "b: 3")[2] != before[2], "the model that it starts from is another one"


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("# new\nloss: !new:a.B\n", False),
        ("batch_size: 8\nloss: !new:a.C\n", False),
        ("batch_size: 8 # new\nloss: !new:a.B\n", True),
        ("batch_size: 8\nloss: !new:a.B\nof_another_recipe: 1\n", True),
    ],
)
def test_the_fingerprint_follows_the_values_of_the_budget(rows, rows_with, tmp_path, text, same):
    (tmp_path / "repository" / "recipes" / "blocks" / "budgets" / "mini.yaml").write_text(text)
    assert (rows_with()[0].fingerprint == rows[0].fingerprint) is same


def test_the_command_line_holds_paths_as_seen_from_the_recipe(rows, place):
    line = words(rows[2], place.root, place.runs)
    assert line[:6] == ["train.py", "hparams/pit.yaml", "--budget", "mini", "--num_epochs", "9"]
    assert line[line.index("--part") + 1] == "{a: 1}"
    folder = f"../../results/study/pit-seed0-{rows[0].fingerprint}"
    assert line[line.index("--pretrained") + 1] == f"{folder}/model"
    line = words(rows[3], place.root, "/elsewhere")
    assert line[line.index("--librispeech_folder") + 1] == "../../../data/Digits"
    assert line[-3:] == ["--optimizer_step_limit", "20", "--noprogressbar"]


def test_a_value_that_the_command_line_would_split_is_refused(rows, place):
    rows[0].overrides["name"] = "a=b"
    with pytest.raises(StudyError, match="must hold no '='"):
        words(rows[0], place.root, place.runs)


def test_rows_are_chosen_by_pattern_with_what_they_need(rows):
    assert [row.id for row in select(rows, ["later"])] == ["pit-seed0", "later-seed0"]
    assert [row.id for row in select(rows, ["*-seed1"])] == ["pit-seed1"]
    assert [row.id for row in select(rows, ["both-seed9"])] == ["digits-seed0", "heard-seed0", "both-seed9"]
    with pytest.raises(StudyError, match="--only p.t: no such row"):
        select(rows, ["p.t"])


def test_a_row_starts_from_several_others_and_a_module_takes_a_recipes_place(rows, place):
    heard, both = rows[4], rows[6]
    folders = [os.path.join("results", "study", f"{row.id}-{row.fingerprint}") for row in (rows[3], heard)]
    assert words(heard, place.root, "results/study") == [
        *("-m", "fake_pretrain", "../data/Digits", "--width", "3", "--seed", "0", "--out", folders[1], "--steps", "20")
    ]
    line = words(both, place.root, "results/study")
    options = dict(zip(line[2:-1:2], line[3:-1:2], strict=True))
    assert options["--pretrained"] == os.path.join("../..", folders[0])
    assert options["--part"] == f'{{a: 1, loss: "../../{folders[1]}/model"}}'
    assert options["--librispeech_folder"] == "../../../data/Digits"
