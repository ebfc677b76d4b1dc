"""Robustness as the LTL paper computes it: kinds of non-ideality, in rising strength.

    python -m benchmarks.robustness [--task NAME] [--kinds mismatch,thermal] [--strengths 0.1,0.2]
        [--ways as-is,online,auto] [--seeds 0,1,2] [--test-images N] [--students FOLDER]
        [--json FILE] [--plot FILE] [--quick] [--check]

The golden student of a seed is put on a chip of the same seed: as it is, after offline LTL, after
online LTL, after the product's automatic calibration, and after that with ten samples. Beside them
is a student that was trained under the same noise and never calibrated. A file that is there
already is added to: what stands in it is not run again. `--check` names where a calibration makes
a chip worse, or brings too little of a mismatch back.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.machine import about
from benchmarks.missing_data import MissingDataError
from benchmarks.noise_training import Lesson, noise_trained
from benchmarks.robustness_kinds import KINDS, Case
from benchmarks.robustness_plot import plot
from benchmarks.robustness_rows import AS_IS, Row, complaints_about, sentence_of, table_of
from benchmarks.robustness_tasks import Task, make_task
from benchmarks.row_file import exit_code, keep_rows, read_rows
from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.loop import Calibration
from ltl_core.chip import Observable
from ltl_core.settings import Budget, CalibrationSettings, Data, RuleName, StageName
from ltl_core.student.evaluate import chip_quality, student_quality
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student

NOISE_TRAINED = "noise-trained"
FIRST_CHIP = 301  # of seed 0
_PAPER = {  # LTL as published: weights and trims from the window of each step, on the lab's samples
    "observable": Observable.WINDOW,
    "data": Data.LAB,
    "stages": (StageName.CELLS,),
    "budget": Budget(samples=2000, distinct=500),
}
WAYS: Mapping[str, Mapping[str, Any] | None] = MappingProxyType(
    {
        AS_IS: None,
        "offline": {**_PAPER, "rule": RuleName.LTL_OFFLINE},
        "online": {**_PAPER, "rule": RuleName.LTL_ONLINE},
        "auto": {"budget": Budget(samples=1000, distinct=100)},
        "auto-10": {"budget": Budget(samples=1000, distinct=10)},
        NOISE_TRAINED: None,
    }
)
QUICK = {
    "task": "digits",
    "kinds": ("mismatch",),
    "strengths": (0.4,),
    "seeds": (0,),
    "ways": (AS_IS, "auto"),
    "shown": 200,
}


class Point(NamedTuple):
    """One row to be measured."""

    task: str
    kind: str
    strength: float
    seed: int
    way: str

    @property
    def case(self) -> Case:
        """The chip; offline, its readout is in full precision."""
        return Case(self.kind, self.strength, FIRST_CHIP + self.seed, self.way != "offline")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a figure that misses its limit."""
    options = parse_options(arguments)
    console, heading = Console(width=150, highlight=False), about("benchmarks.robustness")
    rows = read_rows(options.json, Row)

    @lru_cache(maxsize=1)
    def task_of(name: str, seed: int) -> Task:
        return make_task(name, seed, options)

    for row in keep_rows(measured(task_of, options, rows), rows, options.json, heading):
        console.print(sentence_of(row))
    console.print(table_of(rows))
    if options.plot is not None:
        plot(rows, options.plot)
    return exit_code(console, complaints_about(rows), check=options.check)


def points(options: argparse.Namespace) -> Iterator[Point]:
    """Yield what is to be measured, seed by seed."""
    for seed in options.seeds:
        for kind in options.kinds:
            for strength in KINDS[kind].strengths:
                if not options.strengths or strength in options.strengths:
                    for way in options.ways:
                        yield Point(options.task, kind, strength, seed, way)


def measured(
    task_of: Callable[[str, int], Task], options: argparse.Namespace, done: Sequence[Row]
) -> Iterator[Row]:
    """Measure what is not among the rows yet."""
    have = {Point(row.task, row.kind, row.strength, row.seed, row.way) for row in done}
    before: dict[Case, float] = {}
    for point in points(options):
        if point in have:
            continue
        task, case = task_of(point.task, point.seed), point.case
        if case not in before:
            before[case] = _accuracy(prepared(case, task.student), task.student, task)
        yield row_of(point, task, before[case], options.shown)


def row_of(point: Point, task: Task, before: float, shown: int | None = None) -> Row:
    """Treat one chip in one way, and measure it on the test images.

    A calibration presents `shown` samples; None leaves the budget of its way.
    """
    if point.way == NOISE_TRAINED:
        return _noise_trained(point, task)
    row = Row(*point, task.golden, before, before, 0, 0, 0.0, 0.0)
    changes = WAYS[point.way]
    if changes is None:
        return row
    chip, began = prepared(point.case, task.student), time.perf_counter()
    # The budget is used up: the table says what it brings, not when a target is met.
    usual = {"target_points": None, "test_samples": 1, "seed": point.seed}
    settings = CalibrationSettings.model_validate(usual | dict(changes))
    if shown is not None:
        budget = settings.budget.model_copy(update={"samples": shown})
        settings = settings.model_copy(update={"budget": budget})
    calibration = Calibration(chip, task.student, task.pool, task.test, settings)
    for _ in calibration.steps():
        pass
    found = calibration.result
    return row._replace(
        seconds=time.perf_counter() - began,
        after=_accuracy(chip, task.student, task),
        samples=found.spent.samples,
        distinct=found.distinct,
        writes=found.spent.cell_writes_per_cell,
    )


def prepared(case: Case, student: Student) -> SimulatedChip:
    """Return the chip with the student's codes, aged as its kind says."""
    chip = case.chip(student.network)
    session = ChipSession(chip, student)
    session.place()
    session.write(student.codes, free=True)
    session.settle(KINDS[case.kind].age(case.strength))
    return chip


def _noise_trained(point: Point, task: Task) -> Row:
    """Train under the noise of other chips of the kind, and measure on this one."""
    case, began, lesson = point.case, time.perf_counter(), Lesson()

    def another(step: int) -> SimulatedChip:
        return case._replace(seed=1000 * (1 + point.seed) + step).chip(task.student.network)

    student = noise_trained(task.student, task.taught, another, lesson, point.seed)
    seconds = time.perf_counter() - began
    test = golden_targets(student, task.test.samples)
    golden = 100 * student_quality(student, test).accuracy
    found = 100 * chip_quality(prepared(case, student), student, test).accuracy
    shown = lesson.steps * lesson.batch
    return Row(*point, golden, found, found, shown, task.taught.size, 0.0, seconds)


def _accuracy(chip: SimulatedChip, student: Student, task: Task) -> float:
    return 100 * chip_quality(chip, student, task.test).accuracy


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.robustness")
    tasks = ("digits", "fashion-mnist", "cifar-10")
    parser.add_argument("--task", choices=tasks, default="fashion-mnist")
    for option, known in (("kinds", KINDS), ("ways", WAYS)):
        parser.add_argument(f"--{option}", type=_names(known), default=tuple(known))
    parser.add_argument("--strengths", type=_numbers(float), default=(), help="default: all")
    parser.add_argument("--seeds", type=_numbers(int), default=(0, 1, 2))
    parser.add_argument("--shown", type=int, help="of each calibration; default: its own budget")
    parser.add_argument("--test-images", type=int, default=2000, help="evenly spaced")
    parser.add_argument("--train-images", type=int, help="of teacher and student; default: all")
    parser.add_argument("--teacher-epochs", type=int, help="in place of the usual ones")
    parser.add_argument("--students", type=Path, help="folder to keep teachers and students in")
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    parser.add_argument("--plot", type=Path, help="write curves of all rows to this file")
    parser.add_argument("--quick", action="store_true", help="digits: one kind, strength and seed")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a figure misses")
    options = parser.parse_args(arguments)
    if options.quick:
        vars(options).update(QUICK)
    return options


def _names(known: Mapping[str, object]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        found = tuple(text.split(","))
        unknown = [name for name in found if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown: {unknown[0]}; known: {', '.join(known)}")
        return found

    return read


def _numbers(number: Callable[[str], Any]) -> Callable[[str], tuple[Any, ...]]:
    return lambda text: tuple(number(part) for part in text.split(","))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingDataError as error:
        sys.exit(str(error))
