"""How near do students come to their teachers? Every rule, every seed, the same tasks.

    python -m benchmarks.learning [--task NAME] [--rule NAME] [--seed N] [--json FILE] [--quick]

Prints a table, writes every run to JSON as soon as it has ended, and with --check fails where a
student stays further behind its teacher than `benchmarks/tasks.py` allows. A file that is there
already is added to: what stands in it is not run again.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.datasets import MissingDataError, Split, default_folder
from benchmarks.machine import about
from benchmarks.memory import peak_memory
from benchmarks.tasks import Task, tasks
from benchmarks.teachers import default_start, scaled, shown, teacher_of
from ltl_core.data.augment import crop_and_flip
from ltl_core.data.images import Images
from ltl_core.effort import student_effort
from ltl_core.errors import DataFormatError
from ltl_core.evaluate import Quality, student_quality
from ltl_core.importing import Imported
from ltl_core.live import LiveTargets, Vary
from ltl_core.settings import RuleName
from ltl_core.targets import Targets
from ltl_core.teacher import teacher_accuracy
from ltl_core.training import Training

PERCENTILES = {RuleName.LTL_OFFLINE: 99.9, RuleName.LTL_ONLINE: 99.0}
STARTS = ("warm", "default")
QUICK = ("digits",)
USUAL = ("fashion-mnist",)
SEEDS = (0, 1, 2)
_EFFORT = slice(500)  # of the test samples: what spikes cost differs little between them
WIDE = 150  # columns, where no terminal says otherwise


class Options(NamedTuple):
    """What is to be run, and what from."""

    tasks: tuple[str, ...]
    rules: tuple[RuleName, ...]
    seeds: tuple[int, ...]
    start: str
    samples: int | None
    test_samples: int | None
    data: Path
    cache: Path | None
    json: Path | None
    device: str
    check: bool


class Run(NamedTuple):
    """One student of one teacher. Accuracies are on the test set."""

    task: str
    rule: str
    start: str
    seed: int
    samples: int  # that were learned from, in each epoch
    tested: int  # that were measured on; a student and its teacher on the same
    teacher: float
    accuracy: tuple[float, ...]  # at the start, and after each epoch
    rate_error: tuple[float, ...]  # at the end, hidden layer by hidden layer
    epoch_s: tuple[float, ...]
    peak_bytes: int  # held by the training above the data
    firing_rate: float  # spikes a neuron and step, at the end
    synops: float  # a sample
    synops_ratio: float  # to the ANN's

    @property
    def gap(self) -> float:
        return self.teacher - self.accuracy[-1]


class Lesson(NamedTuple):
    """All that the students of one teacher share."""

    task: Task
    split: Split
    teacher: Imported
    teacher_accuracy: float
    seed: int


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 1 where --check is given and something stayed behind."""
    options = parse(arguments)
    torch.set_default_device(options.device)
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    heading, runs = about("benchmarks.learning"), earlier(options.json)
    for run in perform(options, runs, console):
        runs.append(run)
        write(options.json, heading, runs)
        console.print(f"{run.task} {run.rule} {run.seed}: {100 * run.gap:+.2f} points behind")
    console.print(table_of(runs))
    complaints = [line for run in runs for line in complaints_about(run)] if options.check else []
    for line in complaints:
        console.print(line, highlight=False)
    return 1 if complaints else 0


def perform(options: Options, done: Sequence[Run], console: Console) -> Iterator[Run]:
    """Every run that is not done yet."""
    have = {(run.task, run.rule, run.start, run.seed) for run in done}
    for name in options.tasks:
        task, split = tasks()[name], None
        for seed in options.seeds:
            wanted = [r for r in options.rules if (name, r, options.start, seed) not in have]
            if not wanted:
                continue
            split = split or task.load(options.data)
            console.print(f"{name} {seed}: the teacher.")
            measured = split._replace(test=first_of(split.test, options.test_samples))
            lesson = prepare(task, measured, seed, options.cache)
            for rule in wanted:
                console.print(f"{name} {seed}: {rule}.")
                yield learn(lesson, rule, options.start, options.samples)


def prepare(task: Task, split: Split, seed: int, cache: Path | None = None) -> Lesson:
    """Train the teacher, or find it, and measure it."""
    teacher = teacher_of(task, split, seed, cache)
    accuracy = teacher_accuracy(*teacher, shown(split.test, task.scaling))
    return Lesson(task, split, teacher, accuracy, seed)


def learn(lesson: Lesson, rule: RuleName, start: str = "warm", limit: int | None = None) -> Run:
    """Train one student, from the first `limit` samples or all, and measure it every epoch."""
    task, seed = lesson.task, lesson.seed
    train = shown(first_of(lesson.split.train, limit), task.scaling)
    teacher = scaled(lesson.teacher, train, PERCENTILES.get(rule, 99.9))
    targets = LiveTargets(teacher, train, varied(task, seed))
    test = LiveTargets(teacher, shown(lesson.split.test, task.scaling))
    settings = task.settings(rule, seed)
    weights = teacher.weights
    if start == "default":
        weights = default_start(task, targets, settings.neuron, seed)
    with peak_memory() as peak:
        training = Training(teacher.network, weights, targets, settings)
        qualities, seconds = follow(training, test)
    effort = student_effort(training.student, LiveTargets(teacher, test.samples.take(_EFFORT)))
    return Run(
        *(task.name, rule.value, start, seed),
        samples=targets.size,
        tested=test.size,
        teacher=lesson.teacher_accuracy,
        accuracy=tuple(quality.accuracy for quality in qualities),
        rate_error=qualities[-1].rate_error,
        epoch_s=tuple(seconds),
        peak_bytes=peak.byte_count,
        firing_rate=effort.firing_rate,
        synops=effort.synops,
        synops_ratio=effort.ratio,
    )


def first_of(images: Images, count: int | None) -> Images:
    """So many of them, or all."""
    return images if count is None else images.take(torch.arange(min(count, images.size)))


def varied(task: Task, seed: int) -> Vary | None:
    """Crops and flips, where the task's published settings have them."""
    if not task.presets:
        return None
    generator, padding = torch.Generator().manual_seed(seed), task.recipe.padding
    return lambda inputs: crop_and_flip(inputs, generator, padding=padding, flip=task.recipe.flip)


def follow(training: Training, test: Targets) -> tuple[list[Quality], list[float]]:
    """Quality at the start and after every epoch, and the seconds of each epoch."""
    qualities, seconds = [student_quality(training.student, test)], list[float]()
    began = time.perf_counter()
    for _ in training.epochs():
        seconds.append(time.perf_counter() - began)
        qualities.append(student_quality(training.student, test))
        began = time.perf_counter()
    return qualities, seconds


def table_of(runs: Sequence[Run]) -> Table:
    """A row a task, rule and start: the mean over the seeds, and the worst of them."""
    table = Table(title="Accuracy in % on the test set", box=box.SIMPLE_HEAD)
    for name in ("Task", "Rule", "Start"):
        table.add_column(name)
    for name in (
        *("Seeds", "Samples", "Teacher", "At start", "After each epoch"),
        *("Behind", "Worst", "s an epoch", "MB", "Rate error", "Firing", "SynOps"),
    ):
        table.add_column(name, justify="right")
    for group in groups(runs):
        table.add_row(*cells_of(group))
    return table


def groups(runs: Sequence[Run]) -> list[list[Run]]:
    """The seeds of one task, rule and start together."""
    found: dict[tuple[str, str, str, int], list[Run]] = {}
    for run in runs:
        found.setdefault((run.task, run.rule, run.start, run.samples), []).append(run)
    return list(found.values())


def cells_of(group: Sequence[Run]) -> list[str]:
    """One line of the table."""
    first, epochs = group[0], zip(*(run.accuracy for run in group), strict=True)
    start, *later = (f"{100 * mean(values):.2f}" for values in epochs)
    return [
        *(first.task, first.rule, first.start, str(len(group)), f"{first.samples:,}"),
        f"{100 * mean(run.teacher for run in group):.2f}",
        start,
        " ".join(later),
        f"{100 * mean(run.gap for run in group):+.2f}",
        f"{100 * max(run.gap for run in group):+.2f}",
        f"{mean(mean(run.epoch_s) for run in group):.0f}",
        f"{max(run.peak_bytes for run in group) / 1e6:.0f}",
        f"{mean(mean(run.rate_error) for run in group):.3f}",
        f"{mean(run.firing_rate for run in group):.3f}",
        f"{mean(run.synops_ratio for run in group):.2f}",
    ]


def complaints_about(run: Run) -> list[str]:
    """What this run owes."""
    task, complaints = tasks()[run.task], list[str]()
    if run.teacher < task.teacher_at_least:
        complaints.append(f"{run.task} {run.seed}: the teacher has {100 * run.teacher:.2f} % only.")
    allowed = task.gaps.get(RuleName(run.rule))
    if run.start == "warm" and allowed is not None and run.gap > allowed:
        complaints.append(
            f"{run.task} {run.rule} {run.seed}: {100 * run.gap:.2f} points behind its teacher, "
            f"{100 * allowed:.1f} allowed."
        )
    return complaints


def earlier(path: Path | None) -> list[Run]:
    """What stands in the file already."""
    if path is None or not path.is_file():
        return []
    return [_read(run) for run in json.loads(path.read_text())["runs"]]


def write(path: Path | None, heading: dict[str, object], runs: Sequence[Run]) -> None:
    """Every run so far."""
    if path is not None:
        content = heading | {"runs": [run._asdict() for run in runs]}
        path.write_text(json.dumps(content, indent=2) + "\n")


def parse(arguments: Sequence[str] | None) -> Options:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("--task", action="append", choices=list(tasks()))
    parser.add_argument("--rule", action="append", choices=[rule.value for rule in RuleName])
    parser.add_argument("--seed", type=int, action="append", help="0, 1 and 2 where none is named")
    parser.add_argument("--start", choices=STARTS, default="warm")
    parser.add_argument("--samples", type=int, help="learn from so many only")
    parser.add_argument("--test-samples", type=int, help="measure on the first so many only")
    parser.add_argument("--data", type=Path, default=default_folder(), help="where data sets lie")
    parser.add_argument("--cache", type=Path, help="keep teachers here")
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    parser.add_argument("--device", default=accelerator(), help="such as cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="the digits, one seed")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    given = parser.parse_args(arguments)
    return Options(
        tasks=QUICK if given.quick else tuple(given.task or USUAL),
        rules=tuple(RuleName(name) for name in given.rule or RuleName),
        seeds=(0,) if given.quick else tuple(given.seed or SEEDS),
        **{name: getattr(given, name) for name in Options._fields[3:]},
    )


def accelerator() -> str:
    """What there is, and where there is none, the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def _read(run: dict[str, Any]) -> Run:
    lists = {name: tuple(value) for name, value in run.items() if isinstance(value, list)}
    return Run(**run | lists)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (MissingDataError, DataFormatError) as error:
        sys.exit(str(error))
