"""The command line: what is misspelt is found at any depth, and what is right arrives."""

import shutil
from pathlib import Path

import pytest

from sb_ext.command import parse
from sb_ext.data.recipes import prepare_librimix
from sb_ext.experiment import load_hparams
from sb_ext.losses import NegSISDR
from sb_ext.mixing import SameIndexPairing
from sb_ext.objectives import PIT
from sb_ext.objectives.teacher import AveragedTeacher
from sb_ext.yaml_keys import UnknownKeyError

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
MIXCYCLE = str(RECIPES / "LibriMix" / "hparams" / "mixcycle.yaml")


def load(*argv):
    """The hyperparameters that a command line gives."""
    return load_hparams(parse([str(word) for word in argv]))


@pytest.fixture
def edited(tmp_path):
    """Copies the recipes with changes to one file: ``edited(relative_path, old, new)`` gives mixcycle.yaml's path."""

    def edit(path, old, new):
        shutil.copytree(RECIPES, tmp_path / "recipes", dirs_exist_ok=True)
        file = tmp_path / "recipes" / path
        text = file.read_text(encoding="utf-8")
        assert old in text
        file.write_text(text.replace(old, new, 1), encoding="utf-8")
        return str(tmp_path / "recipes" / "LibriMix" / "hparams" / "mixcycle.yaml")

    return edit


@pytest.mark.parametrize(
    "words, wrong, right",
    [(["--num_epoch_s", "3"], "--num_epoch_s", "--num_epochs"),
     (["--bach_size=4"], "--bach_size", "--batch_size"),
     (["--separator", "{bottlneck: 8}"], "--separator.bottlneck", "--separator.bottleneck"),
     (["--separator", "{network: {num_layer: 2}}"], "--separator.network.num_layer", "--separator.network.num_layers"),
     (["--loss", "{snr_maximum: 20}"], "--loss.snr_maximum", "--loss.snr_max"),
     (["--evaluation", "{self_evaluation: {repeat: 3}}"], "evaluation.self_evaluation.repeat",
      "evaluation.self_evaluation.repeats"),
     (["--training", "{num_epochs: 3, epoch_counter: {limt: 1}}"], "epoch_counter.limt", "epoch_counter.limit")],
)  # fmt: skip
def test_a_misspelt_override_names_the_right_key(words, wrong, right):
    with pytest.raises(UnknownKeyError) as error:
        parse([MIXCYCLE, *words])
    assert f"unknown key {wrong};" in str(error.value) or f"{wrong};" in str(error.value)
    assert f"{right}?" in str(error.value)


@pytest.mark.parametrize(
    "path, old, new, wrong, right",
    [("LibriMix/hparams/mixcycle.yaml", "    num_outputs: !ref <num_outputs>", "    num_output: !ref <num_outputs>",
      "num_output", "num_outputs"),
     ("LibriMix/hparams/mixcycle.yaml", "    snr_max: 30", "    snr_mx: 30", "snr_mx", "snr_max"),
     ("LibriMix/hparams/mixcycle.yaml", "        num_mixtures:", "        num_mixture:", "num_mixture", "num_mixtures"),
     ("LibriMix/hparams/mixcycle.yaml", "    target_floor:", "    target_flor:", "target_flor", "target_floor"),
     ("blocks/stft_tcn.yaml", "    window_size: !ref", "    windw_size: !ref", "windw_size", "window_size"),
     ("blocks/training.yaml", "    patience:", "    patiense:", "patiense", "patience")],
)  # fmt: skip
def test_a_misspelt_key_in_a_file_names_the_right_key(path, old, new, wrong, right, edited):
    with pytest.raises(UnknownKeyError, match=rf"unknown key (\S*\.)?{wrong}; did you mean (\S*\.)?{right}\?"):
        parse([edited(path, old, new)])


def test_a_class_that_does_not_exist_is_named(edited):
    recipe = edited("LibriMix/hparams/mixcycle.yaml", "sb_ext.mixing.RandomIndexPairing", "sb_ext.mixing.RandomPairing")
    with pytest.raises(UnknownKeyError, match="sb_ext.mixing.RandomPairing: .* did you mean .*RandomIndexPairing"):
        load(recipe)
    recipe = edited("LibriMix/hparams/mixcycle.yaml", "sb_ext.losses.NegSNR", "sb_ext.losses.NegSnr")
    with pytest.raises(UnknownKeyError, match="sb_ext.losses.NegSnr: .* did you mean !new:sb_ext.losses.NegSNR"):
        load(recipe)


def test_a_class_from_the_command_line_that_does_not_exist_is_named():
    with pytest.raises(UnknownKeyError, match="SameIndxPairing: .* did you mean .*SameIndexPairing"):
        load(MIXCYCLE, "--pairing", "!new:sb_ext.mixing.SameIndxPairing")


def test_the_prefix_of_a_run_option_is_refused():
    for words in (["--max_grad=3"], ["--max_grad", "3"]):
        with pytest.raises(ValueError, match="unknown key --max_grad; did you mean --max_grad_norm"):
            parse([MIXCYCLE, *words])


def test_run_options_reach_the_run_options_and_keys_the_overrides():
    command = parse([MIXCYCLE, "--max_grad_norm", "3", "--num_epochs", "7", "--device", "cpu"])
    assert command.run_opts.max_grad_norm == 3 and command.run_opts.device == "cpu"
    assert command.overrides["num_epochs"] == 7 and "max_grad_norm" not in command.overrides


def test_an_unknown_budget_names_the_known_ones():
    with pytest.raises(ValueError, match=r"--budget: expected one of .*mini, tiny, received 'mni'; .*mean 'mini'\?"):
        parse([MIXCYCLE, "--budget", "mni"])
    with pytest.raises(ValueError, match="--budget: expected a value"):
        parse([MIXCYCLE, "--budget"])


def test_a_missing_recipe_is_named():
    with pytest.raises(FileNotFoundError, match="hparams/nothing.yaml: no such recipe"):
        parse(["hparams/nothing.yaml"])


WRONG = {
    "batch_size": ["abc", "0", "-2", "2.5", "null"], "learning_rate": ["fast", "-0.1", ".nan"], "seed": ["-1", "one"],
    "segment_seconds": ["0", "-1", "long"], "valid_segment_seconds": ["0"], "num_speakers": ["two", "0"],
    "sample_rate": ["0", "8k"], "train_fraction": ["0", "1.5", "half"], "passes_per_epoch": ["0", "1.5"],
    "num_epochs": ["0", "x"], "valid_batch_size": ["0"], "test_batch_size": ["0"], "num_workers": ["-1", "many"],
    "patience": ["-1"], "warmup_epochs": ["-1", "none"], "num_outputs": ["0", "x"], "num_train_mixtures": ["0"],
    "num_test_mixtures": ["some"], "pack": ["maybe"], "data_folder": ["2023"], "output_folder": ["7"],
    "max_grad_norm": ["-1", "0"], "grad_accumulation_factor": ["0"], "optimizer_step_limit": ["many", "0"],
    "target_floor": ["low", "3"], "select_by": ["3"], "evaluations": ["abc", "null"],
}  # fmt: skip


@pytest.mark.parametrize("key, value", [(key, value) for key, values in WRONG.items() for value in values])
def test_a_value_that_a_key_cannot_have_is_named(key, value):
    with pytest.raises(ValueError, match=rf"^{key}: expected .*, received .*{value.strip('.')}.*--{key}"):
        parse([MIXCYCLE, f"--{key}", value])


@pytest.mark.parametrize("words, says", [
    (["--separator", "{bottleneck: abc}"], "--separator.bottleneck: expected a whole number of at least 1.*128.*'abc'"),
    (["--separator", "{hidden: 0}"], "--separator.hidden: expected a whole number of at least 1.*512.*0"),
    (["--separator", "big"], "--separator: expected a mapping .*'big'"),
    (["--loss", "{snr_max: high}"], "--loss.snr_max: expected a number.*30.*'high'"),
    (["--pairing", "SameIndexPairing"], "--pairing: expected a class such as '!new:.*'SameIndexPairing'"),
    (["--separator", "{bottleneck: 8"], "command line: --separator {bottleneck: 8: is not YAML"),
    (["--seed", "4", "--seed", "2"], "command line: --seed 2: is not YAML .*duplicate key"),
    (["batch_size", "4"], "command line: expected --KEY VALUE after the recipe, received 'batch_size 4'"),
    (["--output_folder", "results/lr=0.1"], "command line: results/lr=0.1: a value cannot hold '='"),
    (["--device", "cuda:77"], "device: 'cuda:77' is not here .*set --device to .*cpu"),
])  # fmt: skip
def test_what_makes_no_sense_on_the_command_line_is_named(words, says):
    with pytest.raises(ValueError, match=f"^{says}[^\n]*$"):
        parse([MIXCYCLE, *words])


@pytest.mark.parametrize("key, value, says", [
    ("mixture_type", "mix_clan", "mixture_type: expected one of mix_clean.*did you mean 'mix_clean'"),
    ("corpus", "smal", "corpus: expected one of small, demo, tiny.*did you mean 'small'"),
])  # fmt: skip
def test_a_misspelt_choice_names_the_right_one(key, value, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        prepare_librimix(load(MIXCYCLE, f"--{key}", value, "--output_folder", tmp_path))


@pytest.mark.parametrize("old, new, says", [
    ("batch_size: 128", "batch_size: abc", "batch_size: expected a whole number.*'abc'; set it in .*mixcycle.yaml"),
    ("batch_size: 128", "bach_size: 128", "mixcycle.yaml: unknown key bach_size; did you mean batch_size?"),
    ("separator: !include", "seperator: !include", "mixcycle.yaml: unknown key seperator; did you mean separator?"),
    ("seed: 1234", "", "mixcycle.yaml: the key seed is missing"),
    ("seed: 1234", "seed: [1234", r"mixcycle.yaml, line \d+: is not YAML \(.*\); correct it"),
    ("blocks/stft_tcn.yaml", "blocks/stft_tc.yaml", "blocks/stft_tc.yaml: no such file; .* includes it at separator"),
    ("epochs: !ref <warmup_epochs>", "epochs: !ref <warmup>", "mixcycle.yaml: .*<warmup>.* <warmup_epochs>"),
])  # fmt: skip
def test_what_is_wrong_in_a_file_is_named_with_its_place(old, new, says, edited):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        parse([edited("LibriMix/hparams/mixcycle.yaml", old, new)])


@pytest.mark.parametrize("content", [b"", b"- a list", b"just text", b"\xff\xfe\x00"])
def test_a_file_that_is_no_recipe_is_named(content, tmp_path):
    (tmp_path / "odd.yaml").write_bytes(content)
    with pytest.raises(ValueError, match="odd.yaml.*: (expected keys with their values|is not YAML)"):
        parse([str(tmp_path / "odd.yaml")])


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_help_is_shown(words):
    with pytest.raises(SystemExit) as stop:
        parse(words)
    assert "usage: python train.py RECIPE.yaml" in stop.value.code


def test_help_of_a_recipe_lists_its_keys_and_values():
    with pytest.raises(SystemExit) as stop:
        parse([MIXCYCLE, "--help"])
    lines = stop.value.code.splitlines()
    for key in ("seed: 1234", "batch_size: 128", "warmup_epochs: 50"):
        assert any(line.strip().startswith(f"--{key}") for line in lines), key


def test_help_lists_the_keys_that_follow_from_others_too():
    """output_folder and max_grad_norm have a !ref for their value, and can be set like any other key."""
    with pytest.raises(SystemExit) as stop:
        parse([MIXCYCLE, "--help"])
    for key in ("output_folder", "max_grad_norm", "num_outputs"):
        assert f"--{key}" in stop.value.code


def test_a_class_on_the_command_line_reaches_the_objective():
    hparams = load(MIXCYCLE, "--pairing", "!new:sb_ext.mixing.SameIndexPairing")
    assert type(hparams["objective"].pairing) is SameIndexPairing


def test_values_of_a_class_on_the_command_line_reach_it():
    objective = load(MIXCYCLE, "--switch", "{epochs: 9}", "--loss", "!new:sb_ext.losses.NegSISDR")["objective"]
    assert objective.switch.epochs == 9 and type(objective.loss) is type(objective.warmup.loss) is NegSISDR


@pytest.mark.parametrize(
    "key, text, kind",
    [("teacher", "!new:sb_ext.objectives.teacher.AveragedTeacher {decay: 0.7}",
      AveragedTeacher),
     ("objective", "!new:sb_ext.objectives.PIT {loss: !ref '<loss>'}", PIT)],
)  # fmt: skip
def test_another_class_with_values_on_the_command_line_takes_the_place_of_the_recipes(key, text, kind):
    """Whether a plain class stands there in the recipe, or one with values of its own."""
    assert type(load(MIXCYCLE, "--budget", "tiny", f"--{key}", text)[key]) is kind


def test_a_schedule_with_values_may_be_given_on_the_command_line():
    """Where the recipe says ``scheduler: null``."""
    hparams = load(MIXCYCLE, "--scheduler", "!new:speechbrain.nnet.schedulers.ReduceLROnPlateau {patience: 3}")
    assert hparams["scheduler"].patience == 3


def test_nested_overrides_reach_the_model_and_leave_its_neighbours():
    hparams = load(MIXCYCLE, "--budget", "tiny", "--separator", "{bottleneck: 4}")
    network = hparams["separator"]["model"].network
    assert network.squeeze.out_channels == 4
    assert network.blocks[0].expand.out_channels == 16 and len(network.blocks) == 2  # still the budget's


def test_the_users_value_beats_the_budgets_and_the_budgets_the_recipes():
    plain, budget = load(MIXCYCLE), load(MIXCYCLE, "--budget", "tiny")
    both = load(MIXCYCLE, "--budget=tiny", "--num_epochs", "9", "--corpus", "demo")
    assert [hparams["num_epochs"] for hparams in (plain, budget, both)] == [1000, 2, 9]
    assert [hparams["corpus"] for hparams in (plain, budget, both)] == ["small", "tiny", "demo"]
    assert both["training"]["epoch_counter"].limit == 9 and both["batch_size"] == budget["batch_size"]
