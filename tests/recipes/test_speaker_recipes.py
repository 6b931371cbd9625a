"""Speaker encoder, basic separator, conditioned separator: three recipes, one after another."""

import json
from pathlib import Path

import pytest
import torch

from sb_ext.command import parse
from sb_ext.data.recipes import prepare_librimix
from sb_ext.data.speakers import prepare_speakers
from sb_ext.experiment import run
from sb_ext.inference import SourceSeparation, load_separator

RECIPES = Path(__file__).resolve().parents[2] / "recipes"

pytestmark = pytest.mark.slow


def train(name, folder, *words):
    speakers = name == "rawnet2"
    recipe = RECIPES / ("LibriSpeech" if speakers else "LibriMix") / "hparams" / f"{name}.yaml"
    options = ["--budget", "tiny", "--noprogressbar", "--device", "cpu", "--output_folder", str(folder)]
    words = [*options, *([] if speakers else ["--evaluations", "[]"]), *map(str, words)]
    return run([str(recipe), *words], prepare_speakers if speakers else prepare_librimix)


@pytest.fixture(scope="module")
def stages(corpora, tmp_path_factory):
    """The options that name the folders of the two first stages."""
    folder = tmp_path_factory.mktemp("stages")
    train("rawnet2", folder / "rawnet2")
    train("convtasnet", folder / "convtasnet", "--num_epochs", 1)
    return {"--speaker_weights": folder / "rawnet2", "--basic_weights": folder / "convtasnet"}


def words(stages):
    return [word for pair in stages.items() for word in pair]


@pytest.mark.parametrize("budget", ["tiny", "mini", "demo"])
def test_a_budget_is_the_same_for_a_stage_and_for_what_takes_it(budget):
    def separator(dataset, name):
        return parse([str(RECIPES / dataset / "hparams" / f"{name}.yaml"), "--budget", budget]).overrides["separator"]

    conditioned = separator("LibriMix", "conditioning")
    assert conditioned["basic"] == separator("LibriMix", "convtasnet")
    assert conditioned["speaker"] == separator("LibriSpeech", "rawnet2")["speaker"]


def test_a_resumed_speaker_encoder_equals_an_uninterrupted_one(stages, tmp_path):
    train("rawnet2", tmp_path, "--num_epochs", 1)
    train("rawnet2", tmp_path)
    figures = [json.loads((folder / "test_summary.json").read_text())["stats"]["eer"] for folder in
               (tmp_path, stages["--speaker_weights"])]  # fmt: skip
    states = [torch.load(folder / "model" / "separator.ckpt") for folder in (tmp_path, stages["--speaker_weights"])]
    torch.testing.assert_close(*states, rtol=0, atol=0)
    assert figures[0] == figures[1]


def test_the_stages_go_into_a_model_of_its_own(stages, tmp_path):
    brain = train("conditioning", tmp_path, *words(stages), "--num_epochs", 1)
    model = brain.modules.separator
    for key, part in (("--speaker_weights", model.embedding.encoder), ("--basic_weights", model.basic)):
        trained = SourceSeparation.from_hparams(str(stages[key])).mods["separator"]
        trained = getattr(trained, "encoder", trained)
        torch.testing.assert_close(part.state_dict(), trained.state_dict(), rtol=0, atol=0)
    alone = SourceSeparation.from_hparams(str(tmp_path))
    torch.testing.assert_close(alone.mods["separator"].state_dict(), model.state_dict(), rtol=0, atol=0)
    mixture = torch.randn(1, 4000)
    once = alone.separate_batch(mixture)
    twice = SourceSeparation.from_hparams(str(tmp_path), overrides={"separator": {"model": {"inference_passes": 2}}})
    assert once.shape == (1, 4000, 2) and not torch.equal(once, twice.separate_batch(mixture))
    tested = train("conditioning", tmp_path, "--num_epochs", 1, *words(stages), "--test_only", "--inference_passes", 2)
    assert tested.modules.separator.inference_passes == 2


def test_a_speaker_encoder_separates_nothing(stages):
    with pytest.raises(ValueError, match="rawnet2: holds a SpeakerIdentifier, which gives embeddings and no sources"):
        load_separator(str(stages["--speaker_weights"]))


def test_reading_a_stage_leaves_its_model_alone(stages):
    """Others may read it at the same time, and it may lie where nobody may write."""
    files = list((stages["--basic_weights"] / "model").iterdir())
    before = {path: path.stat() for path in files}
    load_separator(str(stages["--basic_weights"]))
    assert len(files) == 2 and {path: path.stat() for path in files} == before
    files[0].write_bytes(b"cut")
    load_separator(str(stages["--basic_weights"]))
    assert files[0].stat().st_size == before[files[0]].st_size


def test_all_is_trained_together(corpora, tmp_path):
    layers = "!new:sb_ext.objectives.layer_wise.LayerWise"
    brain = train("conditioning_two_passes", tmp_path, "--freeze_basic", "False", "--layers", layers)
    assert brain.optimizer_step and next(brain.modules.separator.basic.parameters()).requires_grad


@pytest.mark.parametrize("name", ["ecapa_tdnn", "xvector"])
def test_another_encoder_by_one_line(name, corpora, tmp_path):
    text = (RECIPES / "LibriMix" / "hparams" / "conditioning.yaml").read_text()
    changed = text.replace("blocks/rawnet2.yaml", f"blocks/{name}.yaml").replace(
        "../../blocks", str(RECIPES / "blocks")
    )
    recipe = tmp_path / "conditioning.yaml"
    recipe.write_text(changed)
    small = "{basic: {num_filters: 8, bottleneck: 8, hidden: 16, num_layers: 2, num_repeats: 1}, "
    small += "speaker: {width: 16}, second: {num_filters: 8, channels: 4, num_layers: 2, film_hidden: 4}}"
    options = ["--corpus", "tiny", "--basic_weights", "random", "--speaker_weights", "random", "--evaluations", "[]"]
    options += ["--num_epochs", "1", "--batch_size", "4", "--segment_seconds", "0.5", "--valid_segment_seconds", "0.5"]
    options += ["--separator", small, "--output_folder", str(tmp_path / "out"), "--noprogressbar", "--device", "cpu"]
    assert run([str(recipe), *options], prepare_librimix).optimizer_step


@pytest.mark.parametrize(
    "change, message",
    [
        (
            "{speaker: {sample_rate: 8000}}",
            "speaker_weights: .* was trained at 16000 Hz, .* is 8000 there.*rawnet2.yaml",
        ),
        ("{speaker: {cells: 9}}", "speaker_weights: the model in .* is built in another way.*rawnet2.yaml"),
        ("{basic: {bottleneck: 12}}", "basic_weights: the model in .* is built in another way.*convtasnet.yaml"),
        ("{model: {freeze_basic: False}}", "freeze_basic: False .* --layers '!new:.*LayerWise', or --separator"),
        ("{second: {embedding_size: 7}}", "FiLM expects embeddings of 7 numbers, the speaker encoder gives 6"),
    ],
)
def test_stages_that_do_not_fit_are_named_before_training(change, message, stages, tmp_path):
    with pytest.raises(ValueError, match=message):
        train("conditioning", tmp_path, *words(stages), "--separator", change)


def test_a_missing_stage_names_its_command(corpora, tmp_path):
    with pytest.raises(
        ValueError, match=r"speaker_weights: .*cd ../LibriSpeech && python train.py hparams/rawnet2.yaml"
    ):
        train("conditioning", tmp_path, "--speaker_weights", tmp_path / "nothing" / "here")
