"""The report's part on label switching, on made-up figures."""

import json
import re

import pytest

from sb_ext.evaluation.report import write_report

HOSTILE = "<b>$x_{1}$ & |2|"


def fabricate(folder, label="dptnet_dsd", dropped=0.02, layers=3):
    """A run that has measured little else; two epochs."""
    folder.mkdir(parents=True)
    (folder / "command.txt").write_text("python train.py\n")
    (folder / "config.json").write_text(json.dumps({"experiment": label}))
    lines = ["epoch,layer,ratio,valid_si_snri,train_dropped"]
    lines += [f"2,{layer},{0.125 * layer},3.0,{dropped}" for layer in range(1, layers + 1)]
    lines += [f"3,{layer},0.0625,2.5,{dropped / 2}" for layer in range(1, layers + 1)]
    (folder / "label_switching.csv").write_text("\n".join(lines) + "\n")
    lines = ["layer,last_layer,distance,epochs"]
    lines += [f"{layer},{layers},{0.125 * (layers - layer)},2" for layer in range(1, layers)]
    (folder / "layer_decoupling.csv").write_text("\n".join(lines) + "\n")
    return folder


def report(folder):
    return [path.read_text() for path in write_report([folder], folder.parent / "out")]


def test_curves_and_tables_of_runs_that_measured_it(tmp_path):
    fabricate(tmp_path / "runs" / "a")
    fabricate(tmp_path / "runs" / "b", label="pit", dropped=0.0, layers=1)
    markdown, page = report(tmp_path / "runs")
    assert page.count("<svg") == 2 and page.count("layer 3") == 1
    assert "Dropped in training" in page and 'href="#switching"' in page
    assert "| dptnet_dsd | 3 | 2 to 3 | 37.50 | 21.88 | 6.25 | 2.00 | 1.50 | 1.00 |" in markdown
    assert "| pit | 1 | 2 to 3 | 12.50 | 9.38 | 6.25 | 0.00 | 0.00 | 0.00 |" in markdown


def test_layer_decoupling_stands_beside_table_2(tmp_path):
    fabricate(tmp_path / "runs" / "a")
    markdown, page = report(tmp_path / "runs")
    assert "| Layer 1 | 0.25 (0.125 an epoch) | 37.50 | 33.31 | 27.50 | 0.83 |" in markdown
    assert "| Layer 2 | 0.12 (0.062 an epoch) | 29.98 | 16.73 | 2.26 | 0.20 |" in markdown
    assert "| Layer 5 | none | 6.67 | 0.37 | 0.03 | 0.02 |" in markdown
    assert all(f'<td class="number">{figure}</td>' in page for figure in ("0.25 (0.125 an epoch)", "25.56", "4.16"))


def test_nothing_is_shown_of_runs_that_did_not_measure_it(tmp_path):
    folder = fabricate(tmp_path / "runs" / "a")
    for name in ("label_switching.csv", "layer_decoupling.csv"):
        (folder / name).unlink()
    markdown, page = report(folder.parent)
    assert "witch" not in markdown and 'id="switching"' not in page and "label_switching.csv: not there" not in page


def test_a_separator_without_layers_has_no_decoupling_and_plain_pit_no_dropped_share(tmp_path):
    fabricate(tmp_path / "runs" / "a", dropped=0.0, layers=1)
    markdown, page = report(tmp_path / "runs")
    assert page.count("<svg") == 1 and "Dropped in training" not in page and "decoupling" not in markdown


def test_a_name_is_no_markup_and_no_formula(tmp_path):
    fabricate(tmp_path / "runs" / "a", label=HOSTILE)
    markdown, page = report(tmp_path / "runs")
    assert "<b>" not in page + markdown and markdown.count("&lt;b&gt;$x_{1}$ &amp; \\|2\\|") > 3
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", page)
    assert shown.count("&lt;b&gt;$x_{1}$ &amp; |2|") == 2


@pytest.mark.parametrize(
    "rows", ["", "epoch\n", "epoch,layer,ratio\n2,1,\n2,x,0.5\n", "layer,distance,epochs\n1,0.5,0\n"]
)
def test_broken_tables_do_not_break_the_report(rows, tmp_path):
    folder = fabricate(tmp_path / "runs" / "a")
    for name in ("label_switching.csv", "layer_decoupling.csv"):
        (folder / name).write_text(rows)
    markdown, page = report(folder.parent)
    assert "witch" not in markdown and page.count("<svg") == 0
