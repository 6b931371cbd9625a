"""Kill a training again and again: does it end where it would have ended?

    python benchmarks/endurance.py --runs 50 [--recipe FILE] [--kills 4] [--KEY VALUE ...]

One training is left undisturbed. Every other one is ended by SIGKILL several times, at random moments of its
duration or before a random file operation, and started again with the same command until it finishes. Weights,
optimiser, objective, scheduler, epoch counter, curve and test figures must then be equal, bit for bit. Exit status 1
where they are not. Other words go to the recipe.
"""

import argparse
import csv
import json
import os
import random
import runpy
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

import torch
import torch._dynamo  # the optimiser imports it at its first step: once here, not in every child
import yaml

import sb_ext.data.recipes
import sb_ext.experiment  # noqa: F401

ROOT = Path(__file__).resolve().parents[1]
# Small, with everything that has a state: switch, averaged teacher, scheduler, checkpoints after every step.
WORDS = {
    "--budget": "tiny",
    "--num_epochs": "4",
    "--warmup_epochs": "2",
    "--ckpt_interval_steps": "1",
    "--teacher": "!new:sb_ext.objectives.teacher.AveragedTeacher",
    "--scheduler": "!new:speechbrain.nnet.schedulers.ReduceLROnPlateau {patience: 0, dont_halve_until_epoch: 0}",
    "--evaluation": "{metrics: {metrics: [si_snr]}}",
    "--device": "cpu",
}
RUN_OPTIONS = ("--budget", "--device", "--ckpt_interval_steps")
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.chmod", "shutil.copyfile", "torch.save")
TIMES = ("seconds", "data_wait", "finished")


class Training:
    """One command in one folder, started in forked processes: the imports are paid for once."""

    def __init__(self, recipe, words, folder):
        self.recipe, self.folder = Path(recipe).resolve(), Path(folder)
        self.argv = command(self.recipe, words, self.folder)
        self.folder.mkdir(parents=True)
        self.log = self.folder.with_name(f"{self.folder.name}.log")

    def start(self, seconds=None, operation=None):
        """Run until the end, or until killed; exit status, seconds, file operations."""
        counted, began = os.memfd_create("operations"), time.perf_counter()
        child = os.fork()
        if child == 0:
            self._run(counted, operation)
        while (done := os.waitpid(child, os.WNOHANG))[0] == 0:
            if seconds is not None and time.perf_counter() - began > seconds:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)
        return os.waitstatus_to_exitcode(done[1]), time.perf_counter() - began, os.fstat(counted).st_size

    def _run(self, counted, operation):
        status = 1
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1), os.dup2(log, 2)
            os.chdir(self.recipe.parents[1])
            sys.argv = ["train.py", *self.argv]
            before_each_change(self.folder, lambda: self._count(counted, operation))
            runpy.run_path("train.py", run_name="__main__")
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)

    def _count(self, counted, operation):
        os.write(counted, b".")
        if os.fstat(counted).st_size == operation:
            os.kill(os.getpid(), signal.SIGKILL)


def command(recipe, words, folder):
    """The words behind train.py: of WORDS what the recipe has, with ``words`` after them or in their place."""
    text = Path(recipe).read_text(encoding="utf-8")
    known = {key: value for key, value in WORDS.items() if key in RUN_OPTIONS or f"\n{key[2:]}:" in text}
    options = known | dict(zip(words[::2], words[1::2], strict=True)) | {"--output_folder": str(folder)}
    return [str(recipe), "--noprogressbar", *(word for option in options.items() for word in option)]


def before_each_change(folder, call):
    """From now on, in this process, call before each operation that changes something below a folder."""

    def hook(event, about):
        writes = event == "open" and isinstance(about[1], str) and set(about[1]) & set("wax+")
        if writes or event in CHANGES:
            path = str(about[0])
            # What is removed with a folder goes by its bare name.
            if path.startswith(str(folder)) or (event in ("os.remove", "os.rmdir") and not os.path.isabs(path)):
                call()

    def save(value, path, *arguments, inherited=torch.save, **more):
        sys.audit("torch.save", path)  # written in C++, where nothing tells
        inherited(value, path, *arguments, **more)

    torch.save = save
    sys.addaudithook(hook)


def result(folder):
    """Everything in a training's folder that must not depend on the kills, by name."""
    found = {"model": torch.load(folder / "model" / "separator.ckpt")}
    for meta in sorted(folder.glob("save/CKPT*/CKPT.yaml")):
        epoch = yaml.safe_load(meta.read_text()).get("epoch")
        for name in ("separator", "optimizer", "objective", "scheduler"):
            found[f"{name} after epoch {epoch}"] = torch.load(meta.with_name(f"{name}.ckpt"))
        found[f"epoch counter after epoch {epoch}"] = meta.with_name("epoch_counter.ckpt").read_text()
    with open(folder / "curve.csv", newline="") as file:
        for place, row in enumerate(csv.DictReader(file), start=1):
            found[f"curve, row {place}"] = without_times(row)
    found["test"] = without_times(json.loads((folder / "test_summary.json").read_text()))
    for path in folder.glob("*.csv"):
        if path.name != "curve.csv":
            found[path.name] = path.read_text()
    return found


def without_times(tree):
    """A nested dict less what a clock has said."""
    if not isinstance(tree, dict):
        return tree
    return {name: without_times(value) for name, value in tree.items() if not name.endswith(TIMES)}


def equal(one, two):
    """Whether two nested values are equal bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(two, torch.Tensor) and one.dtype == two.dtype and torch.equal(one, two)
    if isinstance(one, dict):
        return isinstance(two, dict) and one.keys() == two.keys() and all(equal(one[key], two[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(two) and all(map(equal, one, two))
    return one == two or one != one and two != two


def killed(training, kills, seconds, operations, rng):
    """Kill a training up to ``kills`` times, then let it finish; gives its exit status and the moments."""
    moments, elapsed = [], 0.0
    for _ in range(kills):
        # What is left by the clock of the undisturbed training; a third at least, since restarts repeat something.
        left = max(1 - elapsed / seconds, 1 / 3)
        moment = {"seconds": rng.uniform(0, left * seconds)}
        if rng.random() < 0.5:
            moment = {"operation": rng.randint(1, round(left * operations))}
        status, took, _ = training.start(**moment)
        elapsed += took
        if status != -signal.SIGKILL:
            return status, moments
        moments.append("{seconds:.2f} s".format(**moment) if "seconds" in moment else "#{operation}".format(**moment))
    return training.start()[0], moments


def differences(training, status, expected):
    """What is wrong with a training that was killed: names, or the end of its log."""
    if status:
        return [f"exit status {status}; {training.log.read_text().splitlines()[-1]}"]
    found = result(training.folder)
    return [name for name in expected | found if not equal(expected.get(name), found.get(name))]


def main(argv=None):
    """Print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--kills", type=int, default=4, help="a run")
    parser.add_argument("--recipe", default=ROOT / "recipes" / "LibriMix" / "hparams" / "mixcycle.yaml")
    parser.add_argument("--draw", type=int, default=0, help="seed of the moments")
    parser.add_argument("--folder", help="keep the trainings here (default: a temporary folder)")
    options, words = parser.parse_known_args(argv)
    folder = Path(options.folder or tempfile.mkdtemp(prefix="endurance-")).resolve()
    rng = random.Random(options.draw)
    torch.set_num_threads(1)

    Training(options.recipe, words, folder / "first").start()  # makes the corpus
    reference = Training(options.recipe, words, folder / "reference")
    status, seconds, operations = reference.start()
    if status:
        raise SystemExit(f"the undisturbed training ended with status {status}:\n{reference.log.read_text()[-3000:]}")
    expected, total, failed = result(reference.folder), 0, 0
    print(f"undisturbed: {seconds:.1f} s, {operations} file operations; {len(expected)} things to compare")
    print("run  outcome  killed after so many seconds, or before file operation #")
    for number in range(1, options.runs + 1):
        training = Training(options.recipe, words, folder / f"run{number}")
        status, moments = killed(training, options.kills, seconds, operations, rng)
        wrong = differences(training, status, expected)
        total, failed = total + len(moments), failed + bool(wrong)
        outcome = f"DIFFERS  {'; '.join(wrong)}" if wrong else "equal"
        print(f"{number:3d}  {outcome}  {', '.join(moments)}", flush=True)
        if not wrong and not options.folder:
            shutil.rmtree(training.folder)
    print(f"{options.runs - failed} of {options.runs} runs equal after {total} kills")
    if not failed and not options.folder:
        shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
