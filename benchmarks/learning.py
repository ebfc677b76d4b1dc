"""How near do students come to their teachers? Every rule and seed, on the same tasks.

    python -m benchmarks.learning [--task NAME] [--rule NAME] [--seed N] [--json FILE] [--quick]

Prints a table, writes every run to JSON as soon as it has ended, and with --check fails where a
student stays further behind its teacher than `benchmarks/tasks.py` allows. A file that is there
already is added to: what stands in it is not run again.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console

from benchmarks.datasets import Split, default_folder
from benchmarks.learning_runs import (
    STARTS,
    Conditions,
    Run,
    Start,
    complaints_about,
    earlier,
    groups,
    table_of,
    write,
)
from benchmarks.machine import about
from benchmarks.memory import peak_memory
from benchmarks.missing_data import MissingDataError
from benchmarks.tasks import Task, tasks
from benchmarks.teachers import default_start, scaled, shown, teacher_of
from ltl_core.data.augment import crop_and_flip
from ltl_core.data.images import Images
from ltl_core.errors import DataFormatError
from ltl_core.interop.from_torch import Imported
from ltl_core.settings import RuleName
from ltl_core.student.evaluate import Quality, student_quality
from ltl_core.student.operations import count_operations
from ltl_core.teaching.live import Augmentation, LiveTargets
from ltl_core.teaching.targets import Targets, evenly_spaced_indices
from ltl_core.teaching.teacher import teacher_accuracy
from ltl_core.training.training import Training

PERCENTILES = {RuleName.LTL_OFFLINE: 99.9, RuleName.LTL_ONLINE: 99.0}
QUICK = ("digits",)
USUAL = ("fashion-mnist",)
SEEDS = (0, 1, 2)
_COUNTED = 500  # test samples on which spikes are counted
WIDE = 190  # columns, where no terminal says otherwise


class Options(NamedTuple):
    """Which runs are made, and of what."""

    tasks: tuple[str, ...]
    rules: tuple[RuleName, ...]
    seeds: tuple[int, ...]
    start: Start
    float_deltas: bool
    epochs: int | None
    samples: int | None
    test_samples: int | None
    data: Path
    cache: Path | None
    json: Path | None
    device: str
    check: bool


class TeacherSetup(NamedTuple):
    """What all students of one teacher share."""

    task: Task
    split: Split
    teacher: Imported
    teacher_accuracy: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Run and print; exit code 1 where --check is given and a student stays behind its limit."""
    options = parse(arguments)
    torch.set_default_device(options.device)
    console = Console(width=None if sys.stdout.isatty() else WIDE)
    heading, runs = about("benchmarks.learning"), earlier(options.json)
    for run in perform(options, runs, console):
        runs.append(run)
        write(options.json, heading, runs)
        console.print(f"{run.name}: {100 * run.gap:+.2f} points behind")
    console.print(table_of(runs))
    missed = [
        line for judged in judged_together(runs, options) for line in complaints_about(judged)
    ]
    complaints = missed if options.check else []
    for line in complaints:
        console.print(line, highlight=False)
    return 1 if complaints else 0


def judged_together(runs: Sequence[Run], options: Options) -> list[list[Run]]:
    """Judge every run for itself; in the quick form, which tests use, the mean of the seeds."""
    return groups(runs) if options.tasks == QUICK else [[run] for run in runs]


def perform(options: Options, done: Sequence[Run], console: Console) -> Iterator[Run]:
    """Make every run that is not in the file yet."""
    have = {run.conditions for run in done}
    for name in options.tasks:
        task, split = tasks()[name], None
        for seed in options.seeds:
            asked = (conditions_of(task, rule, seed, options) for rule in options.rules)
            wanted = [conditions for conditions in asked if conditions not in have]
            if not wanted:
                continue
            split = split or task.load(options.data)
            console.print(f"{name} {seed}: the teacher.")
            measured = split._replace(test=some_of(split.test, options.test_samples))
            setup = prepare(task, measured, seed, options.cache)
            for conditions in wanted:
                console.print(f"{name} {seed}: {conditions.settings.rule}.")
                yield learn(setup, conditions)


def conditions_of(task: Task, rule: RuleName, seed: int, options: Options) -> Conditions:
    """Conditions of one run; deltas of rules that are not local are always floats."""
    given: dict[str, Any] = {}
    if options.epochs is not None and rule not in task.presets:
        given["epochs"] = options.epochs
    if options.float_deltas or not rule.is_local:
        given["delta_bits"] = None
    return Conditions(
        task=task.name,
        settings=task.settings(rule, seed).model_copy(update=given),
        start=options.start,
        samples=options.samples,
        test_samples=options.test_samples,
    )


def prepare(task: Task, split: Split, seed: int, cache: Path | None = None) -> TeacherSetup:
    """Train the teacher, or take it from the cache, and measure it."""
    teacher = teacher_of(task, split, seed, cache)
    accuracy = teacher_accuracy(*teacher, shown(split.test, task.scaling))
    return TeacherSetup(task, split, teacher, accuracy)


def learn(setup: TeacherSetup, conditions: Conditions) -> Run:
    """Train one student, from some samples or all, and measure it after every epoch."""
    task, settings = setup.task, conditions.settings
    train = shown(some_of(setup.split.train, conditions.samples), task.scaling)
    teacher = scaled(setup.teacher, train, PERCENTILES.get(settings.rule, 99.9))
    targets = LiveTargets(teacher, train, varied(task, settings.seed))
    test = LiveTargets(teacher, shown(setup.split.test, task.scaling))
    weights = teacher.weights
    if conditions.start == "default":
        weights = default_start(task, targets, settings.neuron, settings.seed)
    with peak_memory() as peak:
        training = Training(teacher.network, weights, targets, settings)
        qualities, seconds = follow(training, test)
    few = test.samples.take(evenly_spaced_indices(test.size, _COUNTED))
    operations = count_operations(training.student, LiveTargets(teacher, few))
    return Run(
        conditions=conditions,
        samples=targets.size,
        tested=test.size,
        teacher=setup.teacher_accuracy,
        accuracy=tuple(quality.accuracy for quality in qualities),
        rate_error=qualities[-1].rate_error,
        epoch_s=tuple(seconds),
        peak_bytes=peak.byte_count,
        firing_rate=operations.firing_rate,
        synops=operations.synops,
        synops_ratio=operations.ratio,
    )


def some_of(images: Images, count: int | None) -> Images:
    """Choose this number of samples, evenly spaced, or all."""
    return images if count is None else images.take(evenly_spaced_indices(images.size, count))


def varied(task: Task, seed: int) -> Augmentation | None:
    """Crop and flip samples where the task's published settings do."""
    if not task.presets:
        return None
    generator, padding = torch.Generator().manual_seed(seed), task.recipe.padding
    return lambda inputs: crop_and_flip(inputs, generator, padding=padding, flip=task.recipe.flip)


def follow(training: Training, test: Targets) -> tuple[list[Quality], list[float]]:
    """Measure at the start and after every epoch; also the seconds of each epoch."""
    qualities, seconds = [student_quality(training.student, test)], list[float]()
    began = time.perf_counter()
    for _ in training.epochs():
        seconds.append(time.perf_counter() - began)
        qualities.append(student_quality(training.student, test))
        began = time.perf_counter()
    return qualities, seconds


def parse(arguments: Sequence[str] | None) -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    parser.add_argument("--task", action="append", choices=list(tasks()))
    parser.add_argument("--rule", action="append", choices=[rule.value for rule in RuleName])
    parser.add_argument("--seed", type=int, action="append", help="0, 1 and 2 where none is named")
    parser.add_argument("--start", choices=STARTS, default="warm")
    parser.add_argument("--float-deltas", action="store_true", help="in place of bytes")
    parser.add_argument("--epochs", type=int, help="learn so long; published tasks keep their own")
    parser.add_argument("--samples", type=int, help="learn from so many only")
    parser.add_argument("--test-samples", type=int, help="measure on so many only")
    parser.add_argument("--data", type=Path, default=default_folder(), help="where data sets lie")
    parser.add_argument("--cache", type=Path, help="keep teachers here")
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    parser.add_argument("--device", default=accelerator(), help="such as cpu or cuda")
    parser.add_argument("--quick", action="store_true", help="the digits alone")
    parser.add_argument("--check", action="store_true", help="fail where a target is missed")
    given = parser.parse_args(arguments)
    return Options(
        tasks=QUICK if given.quick else tuple(given.task or USUAL),
        rules=tuple(RuleName(name) for name in given.rule or RuleName),
        seeds=tuple(given.seed or SEEDS),
        **{name: getattr(given, name) for name in Options._fields[3:]},
    )


def accelerator() -> str:
    """Device to train on: an accelerator where there is one, else the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (MissingDataError, DataFormatError) as error:
        sys.exit(str(error))
