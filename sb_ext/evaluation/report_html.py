"""The report as one HTML page that needs nothing else: no network, no script, no other file."""

import json
from importlib import resources

from sb_ext.evaluation import figures, report_embeddings, report_examples, report_switching
from sb_ext.evaluation.markup import Markup, join, tag
from sb_ext.evaluation.report_tables import ABSENT, beside_the_paper, comparison, self_evaluations
from sb_ext.evaluation.report_test_sets import TEST_SETS, test_set_table

# The page may load nothing at all, so that nothing which came from a file could make it.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; media-src data:"
DIFFER = (
    "The paper's figures stand here for orientation. They were measured on the paper's data and with its training "
    "budget; where the data differ, as they do for synthetic speech or small corpora, the two do not compare."
)


def page(runs, title, examples):
    """The whole page as text.

    Arguments
    ---------
    runs : list of Run
    title : str
    examples : int
        How many mixtures a run to show and play.
    """

    def name_of_run(number):
        return tag("span", _chip(number), runs[number].label, class_="run")

    sections = [
        ("comparison", "Comparison", _comparison(runs, name_of_run)),
        *_test_sets(runs, name_of_run),
        ("paper", "Beside the paper", _paper(runs, name_of_run)),
        ("self-evaluation", "Self-evaluation", _self_evaluation(runs, name_of_run)),
        ("curves", "Learning curves", _plot(figures.learning_curves(runs), runs, name_of_run, CURVES)),
        ("spread", "Mixture by mixture", _plot(figures.distributions(runs), runs, name_of_run, SPREAD)),
        *_switching(runs, name_of_run),
        *_embeddings(runs),
        ("listen", "Listen and look", _examples(runs, name_of_run, examples)),
        ("runs", "Runs", [_about(run, name_of_run(number)) for number, run in enumerate(runs)]),
    ]
    links = [tag("a", heading, href=f"#{anchor}") for anchor, heading, _ in sections]
    count = f"{len(runs)} run{'' if len(runs) == 1 else 's'}"
    body = [
        tag("header", tag("h1", title), tag("p", count, class_="quiet"), tag("nav", *links, aria_label="Sections")),
        tag("main", *(_section(*section) for section in sections)),
        tag("footer", "± is the standard deviation over the mixtures. “i” is the improvement over the mixture."),
    ]
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(resources.files("sb_ext.evaluation").joinpath("report.css").read_text("utf-8"))),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', *head), tag('body', *body), lang='en')}\n"


CURVES = (
    "Validation during training: solid against the references, dotted by self-evaluation. A thin vertical line marks a "
    "change of the training phase. Losses of different objectives do not compare."
)
SPREAD = "SI-SNR improvement of every test mixture. On the right the runs follow each other in the order of the legend."


def _section(anchor, heading, content):
    link = tag("a", "#", href=f"#{anchor}", class_="anchor", aria_label=f"Link to {heading}")
    return tag("section", tag("h2", heading, link, id=anchor), *content)


def _chip(number):
    return tag("span", class_="chip", style=f"background:{figures.colour(number)}", aria_hidden="true")


def _table(table, name_of_run, caption):
    head = tag("tr", *(tag("th", heading, scope="col") for heading in table.headings))
    rows = [
        tag("tr", tag("th", row[0].text if run is None else name_of_run(run), scope="row"), *map(_cell, row[1:]))
        for run, row in zip(table.runs, table.rows, strict=True)
    ]
    whole = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *rows))
    # a region that scrolls has to be reachable by keyboard
    return tag("div", whole, class_="sheet scroll", tabindex=0, role="region", aria_label=caption)


def _cell(cell):
    text = cell.text
    if cell.kind in ("good", "warn"):
        # the verdict after the comma, or else the whole cell, is what the colour speaks of
        before, comma, verdict = text.rpartition("], ")
        text = join((before + comma.replace(", ", " "), tag("span", verdict, class_="tint")))
    if cell.kind == "number" and " · " in cell.text:
        text = join(tag("span", part, class_="line") for part in cell.text.split(" · "))
    wide = "wide" if len(cell.text) > 24 and cell.kind != "number" else ""
    return tag("td", text, class_=f"{cell.kind} {wide}".strip() or None)


def _comparison(runs, name_of_run):
    return [_table(comparison(runs), name_of_run, "Test set, mean ± standard deviation over the mixtures")]


def _test_sets(runs, name_of_run):
    """The section on further test sets; none where no run was tested on any."""
    table = test_set_table(runs)
    return [("test-sets", "Test sets", [_table(table, name_of_run, TEST_SETS)])] if table.rows else []


def _paper(runs, name_of_run):
    table = beside_the_paper(runs)
    if not table.rows:
        return [tag("p", "None of these experiments has a figure in a paper.", class_="absent")]
    return [tag("p", DIFFER, class_="note"), _table(table, name_of_run, "Measured figures beside printed ones")]


def _self_evaluation(runs, name_of_run):
    table = self_evaluations(runs)
    if not table.rows:
        return [tag("p", ABSENT, class_="absent")]
    about = (
        "A model separates mixtures of its own estimates: a figure that needs no references. The swap gap is how much "
        "better it does on pairs from different outputs than on pairs from the same one; a large gap tells a model "
        "that splits by something other than the speakers, and whose self-evaluation cannot be believed."
    )
    return [tag("p", about), _table(table, name_of_run, "Mean and 95 % confidence interval")]


def _plot(svg, runs, name_of_run, about):
    if not svg:
        return [tag("p", ABSENT, class_="absent")]
    legend = tag("ul", *(tag("li", name_of_run(number)) for number in range(len(runs))), class_="legend")
    return _picture(svg, about, legend)


def _picture(svg, about, *legend):
    plot = tag("div", Markup(svg), class_="plot", role="img", aria_label=about, tabindex=0)
    return [tag("p", about), tag("div", *legend, plot, class_="sheet")]


def _switching(runs, name_of_run):
    """The section on label switching; none where no run has measured it."""
    curves, layers = report_switching.switching_curves(runs), report_switching.layer_curves(runs)
    if not curves:
        return []
    content = [_table(report_switching.switching_table(runs), name_of_run, report_switching.SWITCHING)]
    content += _picture(curves, report_switching.CURVES)
    content += _picture(layers, report_switching.LAYERS) if layers else []
    table = report_switching.decoupling_table(runs)
    if table.rows:
        content += [tag("p", report_switching.DECOUPLING), _table(table, name_of_run, "Layer-decoupling")]
    return [("switching", "Label switching", content)]


def _embeddings(runs):
    """The section on attractors and embeddings; none where no run has saved any."""
    pictures = (
        (report_embeddings.attractor_maps(runs), report_embeddings.MAP),
        (report_embeddings.embedding_planes(runs), report_embeddings.PLANE),
    )
    content = [part for picture, about in pictures if picture for part in _picture(picture, about)]
    return [("embeddings", "Attractors and embeddings", content)] if content else []


def _examples(runs, name_of_run, count):
    chosen = report_examples.choose(runs, count)
    if not chosen:
        return [tag("p", ABSENT, class_="absent")]
    about = "Spectrograms cover 70 dB below the loudest point of the mixture, from 0 Hz at the bottom."
    return [tag("p", about), *(report_examples.render(example, runs, name_of_run) for example in chosen)]


def _about(run, name):
    config = json.dumps(run.config, indent=2, ensure_ascii=False) if run.config else ABSENT
    device = run.summary.get("device", ABSENT)
    parts = [
        tag("summary", name),
        tag("h4", "Command"),
        tag("pre", tag("code", run.command or ABSENT)),
        tag("h4", "Configuration"),
        tag("pre", tag("code", config)),
        tag("p", f"Folder: {run.folder}. Device: {device}.", class_="quiet"),
    ]
    if run.notes:
        parts.append(tag("ul", *(tag("li", note) for note in run.notes), class_="absent"))
    return tag("details", *parts)
