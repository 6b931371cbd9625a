"""``make demo``: from nothing to a self-evaluated MixCycle separator that one can listen to."""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

from sb_ext.evaluation.report import write_report

HPARAMS = Path(__file__).resolve().parents[1] / "recipes" / "LibriMix"
# What is trained: MixCycle, and MixPIT for as many steps beside it.
RUNS = ("mixcycle", "mixpit")


def main(argv=None):
    """Train on the five embedded voices, test, self-evaluate, separate one example, write the report."""
    options = _parser().parse_args(argv)
    began, out = time.time(), Path(options.out).absolute()
    print(f"Results go to {out}; the corpus is synthetic speech (eSpeak NG, five voices).", flush=True)
    _train("irm", out, options, quiet=False)
    beside = _start("mixpit", out, options, log=out / "mixpit.log")
    print("Training MixCycle; MixPIT trains beside it, for comparison (mixpit.log).", flush=True)
    _train("mixcycle", out, options, quiet=False)
    print("Waiting for MixPIT to end.", flush=True)
    if beside.wait():
        raise SystemExit(f"MixPIT's training failed; see {out / 'mixpit.log'}")
    folders = [str(out / name) for name in ("mixcycle", "mixpit", "irm")]
    title = "sb_ext demo: MixCycle on five synthetic voices"
    write_report(folders, out=str(out), title=title)
    print(f"Done in {(time.time() - began) / 60:.1f} minutes. Open {out / 'report.html'}")


def _command(name, out, options):
    words = [sys.executable, "train.py", f"hparams/{name}.yaml", "--budget", options.budget]
    return [*words, "--output_folder", str(out / name), "--seed", str(options.seed)]


def _environment():
    # Two trainings at once: one core each.
    return {**os.environ, "OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // 2))}


def _start(name, out, options, log):
    out.mkdir(parents=True, exist_ok=True)
    with open(log, "w", encoding="utf-8") as file:
        words = [*_command(name, out, options), "--noprogressbar"]
        return subprocess.Popen(words, cwd=HPARAMS, env=_environment(), stdout=file, stderr=subprocess.STDOUT)


def _train(name, out, options, quiet):
    subprocess.run(_command(name, out, options), cwd=HPARAMS, env=_environment(), check=True)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m sb_ext.demo", description=main.__doc__)
    parser.add_argument("--out", default="results/demo", help="folder for everything that is made (results/demo)")
    parser.add_argument("--budget", default="demo", help="of recipes/blocks/budgets (default: demo)")
    parser.add_argument("--seed", type=int, default=1234)
    return parser


if __name__ == "__main__":
    main()
