"""Put trainings side by side: ``python -m sb_ext.evaluation.report RESULTS... --out DIR``.

Writes a table in Markdown (``report.md``, also printed) and one self-contained page (``report.html``) with tables,
curves, spectrograms and audio.
"""

import argparse
import sys
from pathlib import Path

from sb_ext.atomic import write_text
from sb_ext.evaluation import report_switching
from sb_ext.evaluation.report_html import DIFFER, page
from sb_ext.evaluation.report_tables import beside_the_paper, comparison, markdown_text, self_evaluations
from sb_ext.evaluation.report_test_sets import TEST_SETS, test_set_table
from sb_ext.evaluation.results import read_runs

TITLE = "Speech separation results"


def write_report(results, out=".", title=TITLE, examples=3):
    """Write the report of every result folder at or below ``results``.

    Arguments
    ---------
    results : list of path
        Result folders, or folders above several.
    out : path
        A folder for report.md and report.html, or the name of an ``.html`` file; the ``.md`` then goes beside it.
    title : str
    examples : int
        How many mixtures a run to show and play; a mixture that runs share is shown once.

    Returns
    -------
    tuple of Path
        The Markdown file and the HTML file.

    Raises
    ------
    FileNotFoundError
        Where there is no result folder.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> write_text(folder / "run" / "test_summary.json", "{}")
    >>> [path.name for path in write_report([folder], folder / "mine.html")]
    ['mine.md', 'mine.html']
    """
    runs = read_runs(results)
    out = Path(out)
    web = out if out.suffix.lower() in (".html", ".htm") else out / "report.html"
    markdown = web.with_suffix(".md")
    write_text(markdown, markdown_report(runs, title))
    write_text(web, page(runs, title, examples))
    return markdown, web


def markdown_report(runs, title):
    """The tables of ``runs`` in Markdown, with what was not there at the end."""
    parts = [f"# {markdown_text(title)}", comparison(runs).markdown()]
    for heading, note, table in (
        ("Beside the paper", DIFFER, beside_the_paper(runs)),
        ("Test sets", TEST_SETS, test_set_table(runs)),
        ("Self-evaluation", "Mean and 95 % confidence interval.", self_evaluations(runs)),
        ("Label switching", report_switching.SWITCHING, report_switching.switching_table(runs)),
        ("Layer-decoupling", report_switching.DECOUPLING, report_switching.decoupling_table(runs)),
    ):
        if table.rows:
            parts += [f"## {heading}", note, table.markdown()]
    notes = [f"- {markdown_text(run.label)}: {markdown_text(note)}" for run in runs for note in run.notes]
    if notes:
        parts += ["## Not there", "\n".join(notes)]
    return "\n\n".join(parts) + "\n"


def main(arguments=None):
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sb_ext.evaluation.report",
        description="Put trainings side by side, in Markdown and in one self-contained HTML page.",
    )
    parser.add_argument("results", nargs="+", metavar="RESULTS", help="output folders of trainings, or folders above")
    parser.add_argument("--out", default=".", metavar="DIR|FILE.html", help="where to write (default: here)")
    parser.add_argument("--title", default=TITLE, help="heading of the report")
    parser.add_argument("--examples", type=int, default=3, help="mixtures a run to show and play (default: 3)")
    options = parser.parse_args(arguments)
    try:
        written = write_report(options.results, options.out, options.title, options.examples)
    except FileNotFoundError as error:
        parser.error(str(error))
    print(written[0].read_text(encoding="utf-8"))
    print(f"wrote {written[0]} and {written[1]}", file=sys.stderr)


if __name__ == "__main__":
    main()
