"""Whatever is wrong with data, recipe or command line is said before the first step, with file, key, value and remedy.

A row: the recipe, what is spoilt in a small good data set, the command line, and words that the message must hold.
"""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import speechbrain as sb
import torch

from sb_ext.data.recipes import prepare_librimix, prepare_recordings
from sb_ext.experiment import run

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
REAL = "REAL-M/hparams/mixcycle.yaml"
PAIRS = [("19-1-0000", "26-1-0000"), ("19-1-0001", "39-1-0000"), ("26-1-0001", "39-1-0001"), ("19-1-0002", "26-1-0002")]
FIRST, SECOND = "_".join(PAIRS[0]), "_".join(PAIRS[1])
SPLITS = {"train-100": "train-clean-100", "dev": "dev-clean", "test": "test-clean"}
SPOKEN = "LibriSpeech/train-clean-100/19/1/19-1-0000.flac"
NOISE = "noise/train-clean-100/n.wav"
MIXED = "LibriMix/Libri2Mix/wav8k/min/train-100/mix_clean/10-1-1_30-1-1.wav"
S1, S2 = (MIXED.replace("mix_clean", part) for part in ("s1", "s2"))
TABLE = "metadata/Libri2Mix/libri2mix_train-clean-100.csv"
LENGTHS = "LibriMix/Libri2Mix/wav8k/min/metadata/mixture_train-100_mix_clean.csv"
OWN, READ = "own/mix1.wav", "REAL-M/audio_files_converted_8000Hz/a/mix0.wav"

# --- The ways in ---

GENERATED = "--train_split train-100 --data_folder ROOT/LibriMix"
SPEECH = "--train_split train-100 --librispeech_folder ROOT/LibriSpeech"
FLY = f"{SPEECH} --metadata_folder ROOT/metadata"
NOISY = f"{FLY} --mixture_type mix_both --noise_folder ROOT/noise"
RECORDED, REAL_M = "--data_folder ROOT/own", "--data_folder ROOT/REAL-M"
STANDARD = {"--budget": "tiny", "--batch_size": "2", "--num_epochs": "1", "--device": "cpu"}
STANDARD |= {"--output_folder": "ROOT/out", "--corpora_folder": "ROOT/cache"}


def noise(samples, bad=None):
    signal = np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)
    if bad is not None:
        signal[samples // 2] = bad
    return signal


def write(path, samples, rate, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, **options)


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in [rows[0], *(row.values() for row in rows)]))


def row_of(split, pair):
    row = {"mixture_ID": "_".join(pair)}
    for place, name in enumerate(pair, 1):
        row |= {f"source_{place}_path": f"{split}/{name[:2]}/1/{name}.flac", f"source_{place}_gain": 0.5}
    return row | {"noise_path": f"{split}/n.wav", "noise_gain": 0.5}


@pytest.fixture(scope="module")
def good(tmp_path_factory, write_librimix):
    """One set for each way in, with nothing wrong."""
    root = tmp_path_factory.mktemp("good")
    for short, split in SPLITS.items():
        for name in {name for pair in PAIRS for name in pair}:
            write(root / f"LibriSpeech/{split}/{name[:2]}/1/{name}.flac", noise(9000), 16000)
        write(root / f"noise/{split}/n.wav", noise(9000), 16000)
        write_rows(root / f"metadata/Libri2Mix/libri2mix_{split}.csv", [row_of(split, pair) for pair in PAIRS])
        write_librimix(root / "LibriMix", short, [[noise(4500) / 2] * 2] * 4)
        lengths = [{"mixture_ID": f"{10 + place}-1-1_{30 + place}-1-1", "length": 4500} for place in range(4)]
        write_rows(root / f"LibriMix/Libri2Mix/wav8k/min/metadata/mixture_{short}_mix_clean.csv", lengths)
    for number in range(12):
        write(root / f"own/mix{number}.wav", noise(4000), 8000)
        write(root / f"REAL-M/audio_files_converted_8000Hz/a/mix{number}.wav", noise(4000), 8000)
    return root


@pytest.fixture
def root(good, tmp_path, monkeypatch):
    """A copy to spoil; whoever takes a step has trained."""

    def step(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    monkeypatch.setattr(sb.utils.logger, "get_environment_description", lambda: "")
    return shutil.copytree(good, tmp_path / "sets")


def start(root, recipe, line):
    """Start a recipe in this process."""
    path = str(RECIPES / recipe if "/" in recipe else RECIPES / f"LibriMix/hparams/{recipe}.yaml")
    standard = STANDARD if "REAL-M" in path else {**STANDARD, "--evaluations": "[]"}
    words = shlex.split(line)
    words += [word for pair in standard.items() if pair[0] not in words for word in pair]
    prepare = prepare_recordings if "REAL-M" in path else prepare_librimix
    return run([word.replace("ROOT", str(root)) for word in (path, "--noprogressbar", *words)], prepare)


# --- What may be wrong with a data set ---


def nothing(root):
    """All is well."""


def sound(path, *arguments, **options):
    return lambda root: write(root / path, *arguments, **options)


def octets(path, content, at=None):
    """Other bytes in a file, or in place of those from a place on."""

    def spoil(root):
        old = (root / path).read_bytes() if at is not None else b""
        place = at or 0
        (root / path).write_bytes(old[:place] + content + old[place + len(content) :])

    return spoil


def cut(path):
    return lambda root: os.truncate(root / path, os.path.getsize(root / path) // 2)


def broken(path):
    return cut(path), octets(path, b""), octets(path, b"text")


def gone(*paths):
    return lambda root: [shutil.rmtree(p) if p.is_dir() else p.unlink() for p in (root / path for path in paths)]


def empty(path):
    return lambda root: [shutil.rmtree(root / path), (root / path).mkdir()]


def edited(path, old, new):
    return lambda root: (root / path).write_text((root / path).read_text().replace(old, new, 1))


def both(*spoils):
    return lambda root: [spoil(root) for spoil in spoils]


# fmt: off
FOLDERS = [
    ("pit", nothing, "--data_folder ROOT/none", "data_folder ROOT/none folder"),
    ("pit", nothing, "--data_folder ROOT/noise", "data_folder ROOT/noise Libri2Mix/wav8k/min"),
    ("pit", empty("LibriMix"), GENERATED, "data_folder ROOT/LibriMix empty"),
    ("pit", nothing, GENERATED.replace("100", "360"), "data_folder train-360 train_split wav8k/min/train-100"),
    ("pit", nothing, f"{GENERATED} --mode max", "data_folder wav8k/max mode wav8k/min"),
    ("pit", nothing, f"{GENERATED} --num_speakers 3", "data_folder Libri3Mix num_speakers Libri2Mix"),
    ("pit", nothing, f"{GENERATED} --mixture_type mix_both", "data_folder mix_both mixture_type mix_clean"),
    ("pit", nothing, "--librispeech_folder ROOT/none", "librispeech_folder ROOT/none folder"),
    ("pit", nothing, FLY.replace("LibriSpeech", "none"), "librispeech_folder ROOT/none folder"),
    ("pit", empty("LibriSpeech"), SPEECH, "librispeech_folder ROOT/LibriSpeech empty"),
    ("pit", empty("LibriSpeech"), FLY, "librispeech_folder ROOT/LibriSpeech empty"),
    ("pit", nothing, SPEECH.replace("LibriSpeech", "noise"), "librispeech_folder ROOT/noise split/speaker/chapter"),
    ("pit", nothing, SPEECH.replace("n-100", "n-10"), "train_split train-10 train-clean-100"),
    ("pit", nothing, f"{SPEECH} --metadata_folder ROOT/none", "metadata_folder ROOT/none folder"),
    ("pit", nothing, f"{SPEECH} --metadata_folder ROOT/noise", "metadata_folder ROOT/noise libri2mix_*.csv"),
    ("pit", nothing, f"{FLY} --mixture_type mix_both", "noise_folder mix_both"),
    ("pit", gone("noise"), NOISY, "noise_folder ROOT/noise folder"),
    ("pit", empty("noise"), NOISY, "noise_folder ROOT/noise empty"),
    ("pit", empty("noise"), f"{SPEECH} --noise_folder ROOT/noise", "noise_folder ROOT/noise empty"),
    ("pit", gone(NOISE), NOISY, f"ROOT/{NOISE} 1 of the 1 noise_folder"),
    ("pit", nothing, f"{GENERATED} --librispeech_folder ROOT/LibriSpeech", "data_folder librispeech_folder"),
    ("pit", nothing, "--metadata_folder ROOT/metadata", "metadata_folder librispeech_folder"),
    (REAL, nothing, "--data_folder ROOT/none", "data_folder ROOT/none folder"),
    (REAL, empty("own"), RECORDED, "data_folder ROOT/own wav"),
    (REAL, empty(os.path.dirname(os.path.dirname(READ))), REAL_M, "data_folder ROOT/REAL-M wav"),
    (REAL, gone(*[f"own/mix{number}.wav" for number in range(1, 12)]), RECORDED, "data_folder ROOT/own 1 recordings"),
    ("pit", gone(S2), GENERATED, f"data_folder ROOT/{S2} missing 0 more"),
    ("pit", gone(os.path.dirname(S2)), GENERATED, "data_folder s2 missing"),
]
AUDIO = [
    *[("pit", spoil, FLY, f"ROOT/{SPOKEN} replace") for spoil in broken(SPOKEN)],
    *[("pit", spoil, GENERATED, f"ROOT/{MIXED} replace") for spoil in broken(MIXED)],
    *[(REAL, spoil, RECORDED, f"ROOT/{OWN} replace") for spoil in broken(OWN)],
    *[("pit", cut(path), line, f"ROOT/{path} replace") for path, line in ((SPOKEN, SPEECH), (NOISE, NOISY))],
    (REAL, cut(READ), REAL_M, f"ROOT/{READ} replace"),
    # Of a wav header: no rate, no channels, no format, no name
    *[(REAL, octets(OWN, bytes(4), at), RECORDED, f"ROOT/{OWN} replace") for at in (24, 22, 20, 0)],
    (REAL, sound(OWN, noise(0), 8000), RECORDED, f"ROOT/{OWN} samples take"),
    ("pit", sound(NOISE, noise(100), 16000), NOISY, f"ROOT/{NOISE} 100 samples replace"),
    ("pit", nothing, f"{GENERATED} --sample_rate 16000", "sample_rate wav16k wav8k"),
    ("pit", lambda root: shutil.copytree(root / "LibriMix/Libri2Mix/wav8k", root / "LibriMix/Libri2Mix/wav16k"),
     f"{GENERATED} --sample_rate 16000", "16000 8000 sample_rate"),
    ("pit", sound(S1, noise(4500), 16000), GENERATED, f"ROOT/{S1} 8000 16000 replace"),
    ("pit", sound(SPOKEN, noise(9000), 8000), f"{FLY} --sample_rate 16000", f"ROOT/{SPOKEN} 8000 16000 sample_rate"),
    ("pit", sound(SPOKEN, noise(9000), 8000), SPEECH, f"ROOT/{SPOKEN} 8000 16000 resample"),
    (REAL, sound(READ, noise(4000), 16000), REAL_M, f"ROOT/{READ} 8000 16000 converted"),
    (REAL, nothing, f"{REAL_M} --sample_rate 16000", "sample_rate 16000 8000"),
    *[("pit", sound(path, noise(4500, bad), 8000, subtype="FLOAT"), GENERATED, f"ROOT/{path} 2250 NaN replace")
      for path in (MIXED, S2) for bad in (np.nan, np.inf)],
    (REAL, sound(OWN, noise(4000, -np.inf), 8000, subtype="FLOAT"), RECORDED, f"ROOT/{OWN} 2000 NaN replace"),
    (REAL, sound(READ, noise(4000, np.nan), 8000, subtype="DOUBLE"), REAL_M, f"ROOT/{READ} 2000 NaN replace"),
    ("pit", sound(NOISE, noise(9000, np.nan), 16000, subtype="FLOAT"), NOISY, f"ROOT/{NOISE} NaN replace"),
    ("pit", sound(SPOKEN.replace("0.flac", "9.wav"), noise(9000, np.nan), 16000, subtype="FLOAT"), SPEECH,
     "19-1-0009.wav NaN replace"),
    ("pit", sound(S2, noise(4400), 8000), GENERATED, f"ROOT/{S2} 4500 4400 replace"),
    ("pit", both(gone(LENGTHS), sound(S2, noise(4400), 8000)), GENERATED, f"ROOT/{S2} 4500 4400 replace"),
    ("pit", sound(SPOKEN, noise(9000).reshape(-1, 2), 16000), FLY, f"ROOT/{SPOKEN} 1 2 replace"),
]
TABLES = [
    ("pit", edited(TABLE, FIRST, SECOND), FLY, f"ROOT/{TABLE} {SECOND} more than once delete"),
    ("pit", edited(TABLE, "source_2_gain", "source_2_level"), FLY, f"ROOT/{TABLE} source_2_gain source_2_level"),
    *[("pit", edited(TABLE, "flac,0.5", f"flac,{gain}"), FLY, f"ROOT/{TABLE} line 2 source_1_gain {gain} correct")
      for gain in ("loud", "nan", "inf")],
    ("pit", edited(TABLE, ",0.5", ""), FLY, f"ROOT/{TABLE} line 2 correct"),
    ("pit", octets(TABLE, b"RIFF\xff\xfe\x80"), FLY, f"ROOT/{TABLE} CSV"),
    ("pit", gone(SPOKEN, SPOKEN.replace("0000", "0001")), FLY,
     f"ROOT/{TABLE} 2 of the 8 files ROOT/{SPOKEN} 19-1-0001.flac librispeech_folder"),
    *[("pit", edited(LENGTHS, "4500", length), GENERATED, f"ROOT/{LENGTHS} line 2 length {length} delete")
      for length in ("long", "0", "-4", "2.5")],
    ("pit", edited(LENGTHS, "length", "duration"), GENERATED, f"ROOT/{LENGTHS} length duration delete"),
    ("pit", edited(LENGTHS, "11-1-1_31", "10-1-1_30"), GENERATED, f"ROOT/{LENGTHS} line 3 10-1-1_30 more than once"),
    ("pit", gone(*[f"LibriSpeech/train-clean-100/{speaker}" for speaker in (26, 39)]), SPEECH,
     "num_speakers train-clean-100 1 usable 2 add"),
    ("pit", nothing, f"{SPEECH} --num_speakers 4", "num_speakers train-clean-100 3 usable 4 lower"),
    *[("pit", nothing, f"{line} --num_speakers {count}", f"num_speakers {count}")
      for line, count in ((SPEECH, 1), ("", 1), ("", 9))],
    ("pit", lambda root: (root / SPOKEN).rename(root / SPOKEN.replace("19-1-0000", "hello")), SPEECH,
     "librispeech_folder hello.flac SPEAKER- rename"),
]
BATCHES = [
    *[(recipe, nothing, f"{FLY} --batch_size 1", "batch_size 1 2") for recipe in ("mixit", "mixpit", "mixcycle")],
    ("mixcycle", nothing, f"{FLY} --batch_size 1 --warmup_epochs 0", "batch_size 1 2"),
    (REAL, nothing, f"{RECORDED} --batch_size 1", "batch_size 1 2"),
    ("mixpit", nothing, f"{FLY} --num_outputs 3", "batch_size 2 3"),
    ("pit", nothing, f"{FLY} --batch_size 500", "batch_size 500 4"),
    ("pit", nothing, f"{FLY} --train_fraction 0.2", "batch_size 2 1 train_fraction"),
    *[(recipe, nothing, f"{FLY} --num_outputs 1", "num_outputs 1 2") for recipe in ("pit", "mixit", "mixpit")],
    ("mixcycle", nothing, f"{FLY} --select_by si_sdri", "select_by si_sdri si_snri"),
    ("mixcycle", nothing, f"{FLY} --switch '!new:sb_ext.objectives.switch.WhenSound {{figure: sound}}'",
     "switch.figure sound si_snri"),
    (REAL, gone(*[f"own/mix{number}.wav" for number in (7, 8, 9)]), RECORDED, "select_by 1 2 add"),
    ("pit", nothing, f"{FLY} --segment_seconds 0.00001", "segment_seconds 1e-05"),
    ("pit", octets("taken", b""), f"{FLY} --corpora_folder ROOT/taken", "corpora_folder ROOT/taken SB_EXT_CORPORA"),
    ("pit", nothing, f"{FLY} --evaluations '[metrics]'", "evaluations 'metrics' evaluation[metrics]"),
    *[("pit", nothing, f"{FLY} --pretrained {name}", f"pretrained {name} set")
      for name in ("ROOT/none", "recipes/none", "none", "ROOT/own")],
]
# fmt: on


def named(row):
    return f"{row[0].split('/')[0]} {row[2]} {row[3]}".replace("ROOT/", "")


def message_of(root, recipe, line):
    """What a start that must fail says last, and that nothing misleading stands above it."""
    with pytest.raises((ValueError, OSError)) as error:
        start(root, recipe, line)
    assert error.value.__suppress_context__ or error.value.__context__ is None
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("row", FOLDERS + AUDIO + TABLES + BATCHES, ids=named)
def test_is_said_before_the_first_step(row, root):
    recipe, spoil, line, says = row
    spoil(root)
    message = message_of(root, recipe, line)
    for word in says.replace("ROOT", str(root)).split():
        assert word in message


@pytest.mark.parametrize("line", [GENERATED, SPEECH, FLY, NOISY, RECORDED, REAL_M])
def test_with_nothing_wrong_training_begins(line, root):
    with pytest.raises(AssertionError, match="training began"):
        start(root, REAL if line in (RECORDED, REAL_M) else "mixcycle", line)


@pytest.mark.parametrize("folder, spoil, line, says", [
    ("LibriMix", nothing, "hparams/pit.yaml --batch_size abc", "batch_size: expected a whole number"),
    ("REAL-M", cut(OWN), f"hparams/mixcycle.yaml --budget tiny {RECORDED}", f"ROOT/{OWN}: cannot be read"),
])  # fmt: skip
def test_the_command_says_it_in_one_line(folder, spoil, line, says, root):
    spoil(root)
    words = f"{line} --output_folder ROOT/out --corpora_folder ROOT/cache".replace("ROOT", str(root)).split()
    done = subprocess.run(
        [sys.executable, "train.py", *words], cwd=RECIPES / folder, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith(f"train.py: {says}".replace("ROOT", str(root)))
    assert "Traceback" not in done.stdout
