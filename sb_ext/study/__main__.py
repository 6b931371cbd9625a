"""``python -m sb_ext.study run`` trains what has no result yet; ``python -m sb_ext.study table`` writes the page."""

import argparse
import signal
import sys
from pathlib import Path

from sb_ext.atomic import write_text
from sb_ext.study.checks import StudyError
from sb_ext.study.claims import read_claims
from sb_ext.study.command_line import RUNS
from sb_ext.study.record import read_records
from sb_ext.study.rows import read_rows
from sb_ext.study.run import cores, run, select
from sb_ext.study.table import page
from sb_ext.study.training import Place


def arguments():
    """The command line's parser."""
    parser = argparse.ArgumentParser(prog="python -m sb_ext.study", description=__doc__)
    parser.add_argument("--root", default=".", metavar="DIR", help="the repository's root (default: here)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="run|table")
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--rows", default="study/rows.yaml", metavar="FILE", help="the rows (default: %(default)s)")
    both.add_argument("--results", default="study/results", metavar="DIR", help="the records (default: %(default)s)")
    runner = commands.add_parser("run", parents=[both], help="train the rows that have no record yet")
    runner.add_argument("--only", nargs="+", default=[], metavar="GLOB", help="names or ids of rows, such as 'pit*'")
    runner.add_argument("--workers", type=int, default=1, metavar="N", help="trainings at a time (default: 1)")
    runner.add_argument("--threads", type=int, metavar="N", help="threads a training (default: cores / workers)")
    runner.add_argument("--runs", default=RUNS, metavar="DIR", help="training folders (default: %(default)s)")
    runner.add_argument("--again", action="store_true", help="also rows whose configuration changed since their record")
    table = commands.add_parser("table", parents=[both], help="write the tables of claims and rows")
    table.add_argument("--claims", default="study/claims.yaml", metavar="FILE", help="default: %(default)s")
    table.add_argument("--out", default="study/README.md", metavar="FILE", help="default: %(default)s")
    return parser


def main(argv=None):
    """The command line; gives the exit status."""
    parser = arguments()
    options = parser.parse_args(argv)
    try:
        return {"run": _run, "table": _table}[options.command](options)
    except StudyError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(options):
    if options.workers < 1 or (options.threads is not None and options.threads < 1):
        raise StudyError(f"expected --workers and --threads above 0, received {options.workers} and {options.threads}")
    root = Path(options.root).resolve()
    rows = select(read_rows(root / options.rows, root), options.only)
    for row in rows:
        row.program.check(root, f"{options.rows}: row {row.name!r}")
    # Being asked to end is the same as Ctrl-C: the trainings end too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threads = options.threads or max(1, cores() // options.workers)
    place = Place(str(root), options.runs, threads)
    return 1 if run(rows, place, root / options.results, options.workers, options.again) else 0


def _table(options):
    root = Path(options.root)
    rows, claims = read_rows(root / options.rows, root), read_claims(root / options.claims)
    write_text(root / options.out, page(rows, read_records(root / options.results), claims))
    print(f"wrote {root / options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
