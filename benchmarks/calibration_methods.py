"""LTL beside every baseline, and each of its choices switched off alone, on the same chips.

    python -m benchmarks.calibration_methods [--sets methods,ablation] [--variants ltl,spsa]
        [--presets pcm,harsh] [--chips N] [--budgets 250,500,1000,2000] [--json FILE]
        [--golden FILE] [--noise-golden FILE] [--teachers FOLDER] [--quick] [--check]

Network, chips and their treatment are those of `benchmarks.calibration`: made from the seeds 301
on, measured on all 10,000 test images. Every method gets the same samples and the same budget of
presentations, and no target at which to stop; the ablation has the largest budget alone. Accuracy
against samples, seconds and writes follows from the rows. A file that is there already is added
to. `--check` names each baseline that is better than LTL along two of the three.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.calibration import (
    CHIPS,
    FIRST_SEED,
    POOL,
    PRESETS,
    QUICK_TEST,
    Calibrated,
    Golden,
    Task,
    calibrated,
    chip_of,
    listed,
    make_task,
    measured_before,
)
from benchmarks.calibration_variants import SETS, Variant
from benchmarks.datasets import default_folder
from benchmarks.machine import about
from benchmarks.method_rows import MethodRow, complaints_about, sentence_of, table_of
from benchmarks.missing_data import MissingDataError
from benchmarks.row_file import exit_code, keep_rows, read_rows
from benchmarks.tasks import tasks
from benchmarks.teachers import scaled, shown, teacher_of
from chip_sim.chip import SimulatedChip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.tune_stage import make_tuner
from ltl_core.optional_verbs import tunable
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import collect

BUDGETS = (250, 500, 1000, 2000)  # presentations
WEIGHT_NOISE = 0.04  # of the baseline trained with noise, of the largest code: our own choice


class Run(NamedTuple):
    """One calibration to be measured."""

    set: str
    variant: str
    preset: str
    seed: int
    budget: int  # presentations


class Tasks:
    """The golden students and their samples, each made when it is first needed."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Use the files and the number of test images of the options."""
        self._options = options
        self._test_images = QUICK_TEST if options.quick else None

    @cached_property
    def usual(self) -> Task:
        """The golden student of `benchmarks.calibration`."""
        golden = Golden(epochs=self._options.epochs)
        return make_task(self._options.golden, self._test_images, golden)

    @cached_property
    def noise_trained(self) -> Task:
        """A golden student that was trained with noise on its weights."""
        golden = Golden(epochs=self._options.epochs, weight_noise=WEIGHT_NOISE)
        return make_task(self._options.noise_golden, self._test_images, golden)

    @cached_property
    def taught(self) -> Task:
        """The usual golden student, whose samples have the rates and outputs of its teacher."""
        return self.usual._replace(pool=_taught_pool(self._options.teachers))

    def of(self, variant: Variant) -> Task:
        """Return the task of a variant."""
        if variant.noise_trained:
            return self.noise_trained
        return self.taught if variant.teacher else self.usual


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a baseline that is better than LTL."""
    options = parse_options(arguments)
    console, heading = Console(width=150, highlight=False), about("benchmarks.calibration_methods")
    rows = read_rows(options.json, MethodRow)
    for row in keep_rows(measured(options, rows), rows, options.json, heading):
        console.print(sentence_of(row))
    console.print(table_of(rows))
    return exit_code(console, complaints_about(rows), check=options.check)


def runs(options: argparse.Namespace) -> Iterator[Run]:
    """Yield what is to be measured, chip by chip."""
    for seed in range(FIRST_SEED, FIRST_SEED + options.chips):
        for preset in options.presets:
            for name in options.sets:
                yield from _runs_of(name, preset, seed, options)


def measured(options: argparse.Namespace, done: Sequence[MethodRow]) -> Iterator[MethodRow]:
    """Run what is not among the rows yet."""
    have = {Run(row.set, row.variant, row.preset, row.seed, row.budget) for row in done}
    made, before = Tasks(options), _before(done)
    for run in runs(options):
        if run in have:
            continue
        variant = SETS[run.set][run.variant]
        task, chip = made.of(variant), (run.preset, run.seed, variant.noise_trained)
        if chip not in before:
            before[chip] = measured_before(task, run.preset, run.seed)
        yield _row(run, variant, task, before[chip])


def _runs_of(name: str, preset: str, seed: int, options: argparse.Namespace) -> Iterator[Run]:
    """Yield the runs of one set on one chip; a choice is switched off at the largest budget."""
    budgets = options.budgets if name == "methods" else (max(options.budgets),)
    for variant, of in SETS[name].items():
        if options.variants and variant not in options.variants:
            continue
        for budget in budgets if of.learns else (0,):
            yield Run(name, variant, preset, seed, budget)


def _row(run: Run, variant: Variant, task: Task, before: float) -> MethodRow:
    found = _calibrated(run, variant, task)
    row = MethodRow(
        **run._asdict(),
        golden=task.golden,
        before=before,
        after=before,
        ended_by="not calibrated",
        samples=0,
        distinct=0,
        samples_measured=0,
        writes=0.0,
        pulses=0,
        seconds=0.0,
    )
    if found is None:
        return row
    spent = found.result.spent
    return row._replace(
        after=found.after,
        ended_by=str(found.result.ended_by),
        samples=spent.samples,
        distinct=found.result.distinct,
        samples_measured=spent.samples_measured,
        writes=spent.cell_writes_per_cell,
        pulses=spent.pulses,
        seconds=found.seconds,
    )


def _calibrated(run: Run, variant: Variant, task: Task) -> Calibrated | None:
    """Calibrate one chip; None for a variant without calibration."""
    if variant.changes is None:
        return None
    chip, began = chip_of(run.preset, run.seed), time.perf_counter()
    if not variant.ranges:
        _tune_without_ranges(chip, task)
    seconds = time.perf_counter() - began
    found = calibrated(task, variant.settings(run.preset, run.budget), chip)
    return found._replace(seconds=found.seconds + seconds)


def _tune_without_ranges(chip: SimulatedChip, task: Task) -> None:
    """Tune the chip's circuits, and put the ranges of its converters back to nominal.

    The calibration then finds it tuned, and does not tune it again.
    """
    student, session = task.student, ChipSession(chip, task.student)
    session.place()
    session.write(student.codes, free=True)
    tuner = make_tuner(chip, student, student.codes, task.pool)
    for _ in tuner.steps() if tuner is not None else ():
        pass
    registers = tunable(chip)
    for stage in student.network.stages:
        found = registers.tuning(stage.name)
        registers.tune(stage.name, found._replace(adc_range=found.adc_range * 0))


def _taught_pool(teachers: Path | None) -> TargetSet:
    """Return the samples to choose from with the teacher's rates and outputs.

    The teacher is the one that taught the golden student; it is kept in a folder.
    """
    task = tasks()["fashion-mnist"]
    split = task.load(default_folder())
    train = shown(split.train, task.scaling)
    network, weights, scales = scaled(teacher_of(task, split, 0, teachers), train, 99.9)
    return collect(network, weights, Samples(train.inputs[:POOL], None), scales=scales)


def _before(done: Sequence[MethodRow]) -> dict[tuple[str, int, bool], float]:
    """Return the accuracies that chips had before they were calibrated, by student."""
    return {
        (row.preset, row.seed, SETS[row.set][row.variant].noise_trained): row.before for row in done
    }


def parse_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, prog="python -m benchmarks.calibration_methods"
    )
    parser.add_argument("--sets", type=listed, default=tuple(SETS), help=",".join(SETS))
    parser.add_argument("--variants", type=listed, default=(), help="some of them; default: all")
    parser.add_argument("--presets", type=listed, default=PRESETS, help=",".join(PRESETS))
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each preset, from seed 301 on")
    parser.add_argument("--budgets", type=_numbers, default=BUDGETS, help="presentations")
    parser.add_argument("--epochs", type=int, default=2, help="of the golden student's training")
    for option, what in (
        ("golden", "read the golden student from, or keep it in, this file"),
        ("noise-golden", "likewise the one trained with noise"),
        ("teachers", "folder to keep the teacher in"),
        ("json", "write, or add to, this file"),
    ):
        parser.add_argument(f"--{option}", type=Path, help=what)
    parser.add_argument("--quick", action="store_true", help="1,000 test images, one chip, 250")
    parser.add_argument("--check", action="store_true", help="exit code 1 where LTL is not best")
    options = parser.parse_args(arguments)
    if options.quick:
        options.chips, options.budgets = 1, options.budgets[:1]
    return options


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(map(int, listed(text)))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingDataError as error:
        sys.exit(str(error))
