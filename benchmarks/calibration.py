"""What calibration brings back, and what it costs, on a network of Fashion-MNIST.

    python -m benchmarks.calibration [--presets pcm,harsh] [--chips N] [--experiments hundred,ten]
                                     [--json FILE] [--golden FILE] [--task TASK] [--test N]
                                     [--quick] [--check]

conv 32/2, conv 64/2, fc 128, fc 10; T = 16; other tasks bring a network of their own. Every chip
is made from its seed, written with the golden student's codes, measured after 60 s of its own
clock, and calibrated. Accuracies are on all test samples, of Fashion-MNIST 10,000, which nothing is
chosen on, or with `--test N` on the first N. A file that is there already is added to: what stands
in it is not run again. Step sizes, margins and the choice of samples were made on the seeds 101,
201 and 202 of Fashion-MNIST, which no table uses.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from rich.console import Console

from benchmarks.calibration_rows import (
    ELSEWHERE,
    ON_FASHION,
    Row,
    complaints_about,
    sentence_of,
    table_of,
)
from benchmarks.datasets import Split, default_folder
from benchmarks.machine import about
from benchmarks.missing_data import MissingDataError
from benchmarks.row_file import exit_code, keep_rows, read_rows
from benchmarks.tasks import Task as LearningTask
from benchmarks.tasks import tasks
from benchmarks.teachers import scaled, shown, teacher_of
from chip_sim.chip import SimulatedChip, make_chip
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult
from ltl_core.settings import (
    Budget,
    CalibrationSettings,
    Data,
    RuleName,
    StageName,
)
from ltl_core.student.evaluate import chip_quality, student_quality
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.live import LiveTargets
from ltl_core.teaching.targets import Samples, TargetSet, evenly_spaced_indices
from ltl_core.training.training import Training
from service.bench.simulated import spec_of

HARSH = "harsh"
PRESETS = ("pcm", "hermes", "reram", HARSH)
FASHION = "fashion-mnist"
FIRST_SEED, CHIPS = 301, 10
SETTLE_S = 60.0
POOL = 500  # training images that an experiment may choose its samples from
QUICK_TEST = 1000


class Experiment(NamedTuple):
    """One way to calibrate; the harsh chips may have more samples."""

    mild: Mapping[str, Any] | None  # None: for harsh chips alone
    harsh: Mapping[str, Any]
    variant: str = ""  # of the chips, behind the name of their preset

    def is_for(self, preset: str) -> bool:
        """Return whether chips of this preset are calibrated so."""
        return preset == HARSH or self.mild is not None

    def settings(self, preset: str) -> CalibrationSettings:
        """Return the settings for a chip of this preset, for which the experiment has to be."""
        chosen = self.harsh if preset == HARSH else self.mild
        if chosen is None:
            raise ValueError(f"This experiment is not for chips of the preset {preset}.")
        given = dict(chosen)
        budget = Budget(**{name: given.pop(name) for name in _BUDGETS if name in given})
        # The budget is used up: the table says what it brings, not when a target is met.
        return CalibrationSettings(budget=budget, target_points=None, test_samples=1, **given)


_BUDGETS = ("samples", "distinct", "cell_writes_per_cell")
_NO_CELL = {"stages": (StageName.TUNE, StageName.TRIMS)}
_SIDE = {"stages": (StageName.TUNE, StageName.TRIMS, StageName.SIDE)}
_UNTUNED = {"stages": (StageName.TRIMS, StageName.CELLS)}
_LAB = {"data": Data.LAB}
_MADE = {"data": Data.SYNTHETIC}
_MILD, _HARSH = {"samples": 1000, "distinct": 100}, {"samples": 2000, "distinct": 500}
_FRONTIER = {f"writes-{most}": {"cell_writes_per_cell": most} for most in (0.05, 0.1, 0.2)}
EXPERIMENTS: Mapping[str, Experiment] = MappingProxyType(
    {
        "hundred": Experiment(_MILD, _HARSH),
        "ten": Experiment({**_MILD, "distinct": 10}, {**_HARSH, "distinct": 10}),
        "synthetic": Experiment({"samples": 1000, **_MADE}, {"samples": 2000, **_MADE}),
        "no-cell": Experiment({**_MILD, **_NO_CELL}, {**_HARSH, **_NO_CELL}),
        "side": Experiment(None, {**_HARSH, **_SIDE}, "-side"),
        "untuned": Experiment({**_MILD, **_UNTUNED}, {**_HARSH, **_UNTUNED}),
        "lab-alone": Experiment({**_MILD, **_LAB}, {**_HARSH, **_LAB}),
        **{name: Experiment(None, {**_HARSH, **most}) for name, most in _FRONTIER.items()},
    }
)


class Golden(NamedTuple):
    """How a golden student is trained."""

    task: str = FASHION
    epochs: int | None = None  # None: as long as the task says
    samples: int | None = None  # that it learns from, evenly spaced; None are all
    weight_noise: float = 0.0  # as a fraction of the largest code
    teachers: Path | None = None  # folder where its teacher is kept


USUAL = Golden()


class Task(NamedTuple):
    """The golden student, training images to choose samples from, and all test images."""

    student: Student
    pool: TargetSet
    test: TargetSet
    golden: float  # accuracy of the student on the test images, %


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a figure that misses its limit."""
    options = _options(arguments)
    console, heading = Console(width=150, highlight=False), about("benchmarks.calibration")
    rows = read_rows(options.json, Row)
    golden = Golden(*(getattr(options, name) for name in Golden._fields))
    task = make_task(options.golden, options.test, golden)
    console.print(f"The golden student has {task.golden:.2f} %.")
    for row in keep_rows(_measured(task, options, rows), rows, options.json, heading):
        console.print(sentence_of(row))
    console.print(table_of(rows))
    wanted = ON_FASHION if options.task == FASHION else ELSEWHERE
    return exit_code(console, complaints_about(rows, wanted), check=options.check)


def make_task(kept: Path | None, test_images: int | None = None, golden: Golden = USUAL) -> Task:
    """Train a golden student, or read it from the file `kept`.

    Raises MissingDataError if the data are not on this machine.
    """
    task = tasks()[golden.task]
    split = task.load(default_folder())
    train, test = shown(split.train, task.scaling), shown(split.test, task.scaling)
    if kept is not None and kept.is_file():
        student = Student.from_block(kept.read_bytes())
    else:
        student = _trained(task, split, train, golden)
        if kept is not None:
            kept.write_bytes(student.to_block())
    pool = golden_targets(student, Samples(train.inputs[:POOL], None))
    measured = golden_targets(student, test.take(slice(test_images)))
    return Task(student, pool, measured, 100 * student_quality(student, measured).accuracy)


def _trained(task: LearningTask, split: Split, train: Samples, golden: Golden) -> Student:
    teacher = scaled(teacher_of(task, split, 0, golden.teachers), train, 99.9)
    settings = task.settings(RuleName.LTL_OFFLINE, 0)
    given = {"weight_noise": golden.weight_noise, "epochs": golden.epochs or task.epochs}
    settings = settings.model_copy(update=given)
    count = len(train.inputs)
    learned = train.take(evenly_spaced_indices(count, golden.samples or count))
    training = Training(teacher.network, teacher.weights, LiveTargets(teacher, learned), settings)
    for _ in training.epochs():
        pass
    return training.student


class Calibrated(NamedTuple):
    """What became of one chip."""

    result: CalibrationResult
    after: float  # accuracy on all test images, %
    seconds: float  # without the measurement of all test images


def calibrated(task: Task, settings: CalibrationSettings, chip: SimulatedChip) -> Calibrated:
    """Calibrate one chip, and measure it on all test images."""
    began = time.perf_counter()
    pool = None if settings.data is Data.SYNTHETIC else task.pool
    calibration = Calibration(chip, task.student, pool, task.test, settings)
    for _ in calibration.steps():
        pass
    seconds = time.perf_counter() - began
    after = 100 * chip_quality(chip, task.student, task.test).accuracy
    return Calibrated(calibration.result, after, seconds)


def run(task: Task, name: str, preset: str, seed: int, before: float) -> Row:
    """Calibrate one chip in one way, and measure it on all test images."""
    experiment = EXPERIMENTS[name]
    chip = chip_of(preset + experiment.variant, seed)
    found, after, seconds = calibrated(task, experiment.settings(preset), chip)
    return Row(
        experiment=name,
        preset=preset,
        seed=seed,
        golden=task.golden,
        before=before,
        after=after,
        predicted_loss=found.after.verification.points,
        ended_by=found.ended_by,
        samples=found.spent.samples,
        distinct=found.distinct,
        samples_measured=found.spent.samples_measured,
        writes=found.spent.cell_writes_per_cell,
        pulses=found.spent.pulses,
        seconds=seconds,
    )


def measured_before(task: Task, preset: str, seed: int) -> float:
    """Return the accuracy of a chip with the golden student's codes, 60 s after the write, in %."""
    chip = chip_of(preset, seed)
    session = ChipSession(chip, task.student)
    session.place()
    session.write(task.student.codes, free=True)
    session.settle(SETTLE_S)
    return 100 * chip_quality(chip, task.student, task.test).accuracy


def chip_of(preset: str, seed: int) -> SimulatedChip:
    """Return a named chip, made from its seed."""
    return make_chip(f"{preset}-{seed}", spec_of({"preset": preset}), seed)


def _measured(task: Task, options: argparse.Namespace, done: Sequence[Row]) -> Iterator[Row]:
    """Run what is not in the file yet, chip by chip."""
    have = {(row.experiment, row.preset, row.seed) for row in done}
    before = {(row.preset, row.seed): row.before for row in done}
    for seed in range(FIRST_SEED, FIRST_SEED + options.chips):
        for preset in options.presets:
            for name in options.experiments:
                if (name, preset, seed) in have or not EXPERIMENTS[name].is_for(preset):
                    continue
                if (preset, seed) not in before:
                    before[preset, seed] = measured_before(task, preset, seed)
                yield run(task, name, preset, seed, before[preset, seed])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.calibration")
    names = {"presets": PRESETS, "experiments": tuple(EXPERIMENTS)}
    for option, known in names.items():
        parser.add_argument(f"--{option}", type=listed, default=known, help=",".join(known))
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each preset, from seed 301 on")
    what = "data, and the network that goes with them"
    parser.add_argument("--task", choices=tuple(tasks()), default=FASHION, help=what)
    parser.add_argument("--epochs", type=int, help="of the golden student's training")
    parser.add_argument("--samples", type=int, help="of its training; all of them if absent")
    parser.add_argument("--teachers", type=Path, help="folder where its teacher is kept")
    noise = "of the golden student's training, as a fraction of the largest code"
    parser.add_argument("--weight-noise", type=float, default=0.0, help=noise)
    parser.add_argument("--golden", type=Path, help="read the golden student from, or keep it in")
    parser.add_argument("--test", type=int, help="test samples to measure on; all if absent")
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    parser.add_argument("--quick", action="store_true", help="1,000 test images, one chip")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a figure misses")
    options = parser.parse_args(arguments)
    if options.quick:
        options.chips, options.test = 1, QUICK_TEST
    return options


def listed(text: str) -> tuple[str, ...]:
    """Return the words of an option, which commas separate."""
    return tuple(text.split(","))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingDataError as error:
        sys.exit(str(error))
