"""The report on fabricated results: all numbers, curves and sounds in this file are made up."""

import itertools
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile

from sb_ext.atomic import write_json
from sb_ext.evaluation import paper_figures
from sb_ext.evaluation.markup import VOID
from sb_ext.evaluation.report import main, write_report
from sb_ext.evaluation.report_tables import comparison
from sb_ext.evaluation.results import read_run, read_runs

HOSTILE = "<script>alert('&')</script>"
SUMMARY = {"mean": 5.25, "std": 3.5, "sem": 1.0, "count": 12, "missing": 0}


def fabricate(folder, experiment="mixcycle", data="fabricated tones", ids=("a", "b"), **config):
    """A whole result folder with made-up contents."""
    rng = np.random.default_rng(len(experiment))
    folder.mkdir(parents=True)
    (folder / "command.txt").write_text(f"python train.py hparams/{experiment}.yaml\n")
    (folder / "config.json").write_text(json.dumps({"experiment": experiment, "data": data, "seed": 7, **config}))
    curve = ["epoch,steps,seconds,train_loss,valid_si_snri,valid_self_evaluation,valid_swap_gap,phase"]
    curve += [
        f"{k},{100 * k},{30 * k},{-k / 2},{k / 3},{k / 3 + 1},1.5,{'late' if k > 3 else 'early'}" for k in range(1, 7)
    ]
    (folder / "curve.csv").write_text("\n".join(curve) + "\n")
    rows = [f'"{name}",{rng.normal(6)},{rng.normal(5)},4.0,0.8,2.0' for name in ids]
    (folder / "test_metrics.csv").write_text("id,si_snr,si_snri,sdri,stoi,pesq\n" + "\n".join(rows) + "\n")
    metrics = dict.fromkeys(("si_snri", "sdri", "stoi"), SUMMARY) | {"pesq": SUMMARY | {"missing": 2}}
    (folder / "test_summary.json").write_text(
        json.dumps({"metrics": metrics, "seconds": 9, "steps": 8, "device": "cpu"})
    )
    found = {"si_snri": {"mean": 6.0, "std": 2.0, "ci95": [5.5, 6.5]}, "swap_gap": {"mean": 1.0}, "plausible": True}
    (folder / "self_evaluation.json").write_text(json.dumps(found | {"ground_truth": {"mean": 5.8}, "repeats": 20}))
    for number in range(len(ids)):
        write_audio(folder / "audio" / f"mixture {number}")
    return folder


def write_audio(folder, sources=True):
    folder.mkdir(parents=True)
    names = ["mixture", "estimate1", "estimate2", *(["source1", "source2"] if sources else [])]
    for pitch, name in enumerate(names, 3):
        soundfile.write(folder / f"{name}.wav", np.sin(np.arange(2000) / pitch), 8000)


class Page(HTMLParser):
    """Collects what a page holds, and fails on elements that are not closed in order."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.ids, self.text, self.tables = [], [], [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.ids += [value for name, value in attributes if name == "id"]
        if tag == "tr":
            self.tables.append(0)
        if tag in ("td", "th"):
            self.tables[-1] += 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.text.append(data)

    def count(self, tag):
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def results(tmp_path):
    fabricate(tmp_path / "results" / "one", "mixcycle")
    fabricate(tmp_path / "results" / "two", "pit_dm")
    return tmp_path / "results"


def report(folder, **options):
    markdown, web = write_report([folder], folder.parent / "out", **options)
    return markdown.read_text(), Page(web)


def test_page_holds_every_run_and_is_well_formed(results):
    markdown, page = report(results)
    text = "".join(page.text)
    for expected in ("mixcycle", "pit_dm", "5.25 ± 3.50", "(2 missing)", "6.00 [5.50, 6.50]", "fabricated tones"):
        assert expected in text and expected in markdown
    assert "python train.py hparams/pit_dm.yaml" in text
    assert len(page.ids) == len(set(page.ids))
    assert page.count("svg") == 2 and page.count("details") == 2


def test_audio_of_a_shared_mixture_is_there_once_and_estimates_for_each_run(results):
    _, page = report(results, examples=1)
    assert page.count("audio") == page.count("img") == 3 + 2 * 2
    _, page = report(results, examples=2)
    assert page.count("audio") == 2 * (3 + 2 * 2)


def test_a_mixture_of_the_same_name_from_other_data_is_not_shared(results):
    soundfile.write(results / "two" / "audio" / "mixture 0" / "mixture.wav", np.zeros(500), 8000)
    _, page = report(results, examples=2)
    assert page.count("audio") == (3 + 2 * 2) + 2 * (3 + 2)


def test_page_loads_nothing_from_outside(results):
    _, page = report(results)
    for _, attributes in page.tags:
        for name in ("src", "href", "xlink:href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    assert page.count("script") == page.count("link") == 0
    assert not re.search(r"url\((?!#)|@import", page.source)
    policies = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policies[0].startswith("default-src 'none'")


def test_page_is_accessible(results):
    _, page = report(results)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "audio")
    assert all(attributes.get("scope") in ("row", "col") for tag, attributes in page.tags if tag == "th")
    assert [attributes["lang"] for tag, attributes in page.tags if tag == "html"] == ["en"]
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert targets == {attributes["id"] for tag, attributes in page.tags if tag == "h2"}


def test_everything_that_came_from_files_is_escaped(tmp_path):
    folder = fabricate(tmp_path / "results" / "one", HOSTILE, data=f"{HOSTILE}|x", ids=(HOSTILE, "b"), note=HOSTILE)
    (folder / "command.txt").write_text(f"</code></pre>{HOSTILE}")
    (folder / "audio" / "mixture 0").rename(folder / "audio" / "<img src=x onerror=alert(1)>")
    (folder / "audio" / "mixture 1" / "estimate1.wav").write_text(HOSTILE)
    markdown, page = report(folder.parent, title=HOSTILE)
    assert page.count("script") == 0 and "<script" not in page.source and "<script" not in markdown
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert HOSTILE in "".join(page.text)


def test_tables_have_as_many_cells_in_every_row(results):
    (results / "one" / "config.json").write_text('{"experiment": "mixcycle", "data": "a | b\\nc"}')
    markdown, page = report(results)
    blocks = re.findall(r"(?:^\|.*\n)+", markdown, flags=re.M)
    assert len(blocks) == 3
    for block in blocks:
        widths = {len(re.split(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1
    assert set(page.tables) == {11, 7, 9}


@pytest.mark.parametrize("name", ["command.txt", "config.json", "curve.csv", "test_metrics.csv", "test_summary.json"])
def test_a_missing_file_is_named_in_the_report(tmp_path, name):
    folder = fabricate(tmp_path / "results" / "one", ids=())
    (folder / name).unlink()
    markdown, page = report(folder.parent)
    assert f"{name}: not there" in "".join(page.text) and f"{name}: not there" in markdown


@pytest.mark.parametrize("harm", ["empty", "half", "not text"])
def test_broken_files_do_not_break_the_report(tmp_path, harm):
    folder = fabricate(tmp_path / "results" / "one")
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "not text": b"\xff\xfe\x00"}[harm])
    markdown, page = report(folder.parent)
    assert "config.json: could not be read" in markdown and "one" in page.text


def test_values_of_the_wrong_kind_do_not_break_the_report(tmp_path):
    folder = fabricate(tmp_path / "results" / "one")
    odd = {"si_snri": "high", "swap_gap": {"same": 0.5, "different": None}, "plausible": [1], "ground_truth": math.nan}
    (folder / "self_evaluation.json").write_text(json.dumps(odd))
    (folder / "test_summary.json").write_text(
        '{"metrics": {"si_snri": 3, "stoi": {"mean": null}, "pesq": []}, "steps": "x"}'
    )
    (folder / "config.json").write_text('{"experiment": 5, "data": ["x"], "seed": {}}')
    markdown, _ = report(folder.parent)
    assert "high" in markdown and "same 0.50" in markdown


def test_a_run_that_has_only_begun_says_not_there(tmp_path):
    folder = tmp_path / "results" / "one"
    folder.mkdir(parents=True)
    (folder / "curve.csv").write_text("epoch,steps")
    _, page = report(folder.parent)
    assert page.count("audio") == page.count("svg") == 0
    assert "".join(page.text).count("not there") > 10


def test_examples_without_references_or_estimates(tmp_path):
    folder = fabricate(tmp_path / "results" / "one", ids=())
    write_audio(folder / "audio" / "real", sources=False)
    (folder / "audio" / "none").mkdir()
    soundfile.write(folder / "audio" / "none" / "mixture.wav", 2 * np.ones(50), 16000)
    _, page = report(folder.parent)
    assert page.count("audio") == 4
    assert "references: not there" in page.text and "estimates: not there" in page.text


def test_summary_is_computed_from_the_rows_where_it_was_not_written(results):
    (results / "one" / "test_summary.json").unlink()
    run = read_run(results / "one")
    values = run.column("rows", "si_snri")
    cell = comparison([run]).rows[0][2]
    assert cell.text == f"{np.mean(values):.2f} ± {np.std(values, ddof=1):.2f}"


def test_labels_are_distinct(tmp_path):
    for name, seed in (("a", 1), ("b", 2), ("c", 1), ("d/x", 1), ("e/x", 1)):
        fabricate(tmp_path / name, "pit" if name in "ab" else "irm", seed=seed)
    labels = [run.label for run in read_runs([tmp_path])]
    assert labels[:3] == ["pit · seed 1", "pit · seed 2", "irm · seed 1 · c"]
    assert len(set(labels)) == 5


def test_numeric_names_of_mixtures_stay_text(results):
    (results / "one" / "test_metrics.csv").write_text("id,si_snri\n0012,3.5\n")
    assert read_run(results / "one").rows == [{"id": "0012", "si_snri": 3.5}]


def test_paper_figures_stand_beside_the_experiment_and_say_that_data_differ(results):
    (results / "two" / "config.json").write_text('{"experiment": "pit_dm", "data": "Libri2Mix train-360, 8 kHz min"}')
    markdown, _ = report(results)
    assert "11.4 ± 3.3 (100 %) · 11.2 ± 3.5 (5 %)" in markdown
    beside = markdown.split("## Beside the paper")[1].split("##")[0]
    verdicts = {
        line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip("| ") for line in beside.splitlines()[4:] if line
    }
    assert verdicts["mixcycle"] == "differ" and verdicts["pit_dm"] == "same corpus by name"


def test_paper_figures_are_all_named_and_have_units():
    for paper in paper_figures.load()["papers"]:
        printed = paper_figures.figures(paper)
        assert printed and all(isinstance(figure.mean, (int, float)) for figure in printed)
    assert sum(len(paper_figures.figures(paper)) for paper in paper_figures.load()["papers"]) > 150
    recipes = "pit pit_dm mixit mixit_oracle mixpit mixcycle irm convtasnet_light or_pit sanet sanet_no_speaker_loss "
    recipes += "sanet_23 sanet_no_compactness conv_danet danet dpcl adanet dpcl_plus kmeans_danet_euclidean "
    recipes += "kmeans_danet_spherical kmeans_danet_spherical_plus"
    for experiment, data in itertools.product(recipes.split(), ("", "stand-in for WSJ0-mix")):
        ((paper, method),) = paper_figures.matches(experiment, data)
        assert paper_figures.figures(paper, method, "si_snri")


def test_paper_figures_of_a_test_set_stand_beside_that_set(tmp_path):
    folder = fabricate(tmp_path / "results" / "one", "sanet", "fabricated tones, 2 speakers")
    write_json(folder / "test_sets/3mix/test_summary.json", {"metrics": {"si_snri": SUMMARY | {"mean": 3.25}}})
    beside = report(folder.parent)[0].split("## Beside the paper")[1].split("##")[0]
    rows = [line.split(" | ")[3:5] for line in beside.splitlines() if "fabricated" in line]
    assert rows == [["5.25 ± 3.50", "12.0"], ["3.25 ± 3.50", "7.3"]]


def test_command_line(results, tmp_path, capsys):
    main([str(results / "one"), str(results), "--out", str(tmp_path / "deep" / "my.html"), "--title", "Mine"])
    assert capsys.readouterr().out.startswith("# Mine\n")
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["my.html", "my.md"]


@pytest.mark.parametrize("name, expected", [("empty", "Looked for curve.csv"), ("nowhere", "no such folder")])
def test_a_folder_without_results_is_named(tmp_path, capsys, name, expected):
    (tmp_path / "empty" / "audio" / "x").mkdir(parents=True)
    (tmp_path / "empty" / "config.json").write_text("{}")  # as pretrained models have one
    with pytest.raises(SystemExit):
        main([str(tmp_path / name)])
    assert name in (message := capsys.readouterr().err) and expected in message


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_page_opens_in_a_browser(results, tmp_path):
    _, web = write_report([results], tmp_path)
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    command = ["chromium", "--headless", "--no-sandbox", *quiet.split(), "--disable-sync"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", web.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert dom.count("<table") == 3 and dom.count("<audio") == 2 * (3 + 2 * 2)
    assert dom.count("<svg") == 2
    for run in ("mixcycle", "pit_dm"):
        assert run in dom
