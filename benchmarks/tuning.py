"""Effect of tuning a chip's circuits: before any learning, and on what is learned then.

    python -m benchmarks.tuning [--chips pcm,harsh] [--seeds N] [--json FILE] [--check]

The digits of the demonstration, with its teacher and its student. Each chip stands there twice, as
it was made and tuned; each is measured a day after it was written, calibrated, measured again.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import about
from chip_sim.chip import make_chip
from chip_sim.presets import NAMES
from examples.lab_script import CHIPS, SETTLE_S, read_digits, train_teacher
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.result import CalibrationResult
from ltl_core.chip import ChipBackend
from ltl_core.interop.from_torch import from_torch
from ltl_core.settings import CalibrationSettings, TrainingSettings, TuneSettings
from ltl_core.student.evaluate import Quality
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet, evenly_spaced_indices
from ltl_core.teaching.teacher import collect
from ltl_core.training.training import Training
from ltl_core.tuning.result import TunedLayer
from ltl_core.tuning.tuner import Tuner, TuningSetup
from service.bench.simulated import spec_of


class Task(NamedTuple):
    """Golden student, its training samples, and samples that it has not seen."""

    student: Student
    targets: TargetSet
    test: TargetSet


class Row(NamedTuple):
    """Figures of one chip. Spreads are those of the worst layer."""

    chip: str
    seed: int
    tuned: bool
    accuracy_before: float
    accuracy_after: float
    rate_error_before: float  # summed over the layers
    rate_error_after: float
    loss_after: float
    writes_per_cell: float
    adc_lsb: tuple[float, float] | None = None  # before and after
    threshold: tuple[float, float] | None = None
    leak: tuple[float, float] | None = None
    not_tuned: int = 0  # circuits, over all layers
    passed: bool = True  # measured again, by the criteria
    ranges: tuple[tuple[int, ...], ...] = ()  # of the rows of tiles of each layer


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; exit code 1 where --check is given and a chip fails the criteria or learns worse."""
    options = _options(arguments)
    heading, task = about("benchmarks.tuning"), make_task()
    rows = [
        row
        for name in options.chips.split(",")
        for seed in range(CHIPS[name], CHIPS[name] + options.seeds)
        for row in compare(task, name, seed)
    ]
    Console(width=130).print(table_of(rows))
    if options.json is not None:
        content = heading | {"rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 1 if options.check and not all(row.passed for row in rows) else 0


def make_task() -> Task:
    """Train teacher and student as the demonstration does."""
    splits = read_digits()
    network, weights = from_torch(train_teacher(splits.calibration), input_shape=(1, 8, 8))
    targets = collect(network, weights, Samples(*splits.calibration))
    test = collect(network, weights, Samples(*splits.test), scales=targets.scales)
    training = Training(network, weights, targets, TrainingSettings())
    for _ in training.epochs():
        pass
    return Task(training.student, targets, test)


def compare(task: Task, name: str, seed: int) -> Iterator[Row]:
    """Compare the chip as it was made with the same chip tuned."""
    untuned = make_chip(f"{name}-{seed}", spec_of({"preset": name}), seed)
    yield row_of(untuned.info.model, seed, calibrate(untuned, task))
    chip = make_chip(f"{name}-{seed}", spec_of({"preset": name}), seed)
    tuner = tune(chip, task)
    passed = all(check.passed for check in tuner.check(tuner.result).values())
    row = row_of(chip.info.model, seed, calibrate(chip, task))
    yield with_spreads(row._replace(tuned=True, passed=passed), tuner.result)


def tune(chip: ChipBackend, task: Task) -> Tuner:
    """Tune a chip that holds the student's own codes."""
    student, settings = task.student, TuneSettings()
    session = ChipSession(chip, student)
    session.place()
    session.write(student.codes, free=True)
    inputs = task.targets.samples.inputs[evenly_spaced_indices(task.targets.size, settings.samples)]
    stimulus = student.stimulus(inputs)
    tuner = Tuner(TuningSetup(chip, student.placement(), student.codes, stimulus), settings)
    for _ in tuner.steps():
        pass
    return tuner


def calibrate(chip: ChipBackend, task: Task) -> CalibrationResult:
    """Calibrate a chip as the demonstration does."""
    settings = CalibrationSettings(settle_s=SETTLE_S)
    calibration = Calibration(chip, task.student, task.targets, task.test, settings)
    for _ in calibration.steps():
        pass
    return calibration.result


def row_of(chip: str, seed: int, found: CalibrationResult) -> Row:
    """Row of a calibration, on samples on which nothing was trained."""
    before, after = found.before.test, found.after.test
    return Row(
        *(chip, seed, False, before.accuracy, after.accuracy),
        rate_error_before=_summed(before),
        rate_error_after=_summed(after),
        loss_after=after.loss,
        writes_per_cell=found.spent.cell_writes_per_cell,
    )


def with_spreads(row: Row, tuned: Mapping[str, TunedLayer]) -> Row:
    """Row with the largest spreads of all layers, before and after."""
    layers = list(tuned.values())

    def worst(field: str) -> tuple[float, float]:
        sides = ([one.before for one in layers], [one.after for one in layers])
        before, after = (max(getattr(one, field) or 0.0 for one in side) for side in sides)
        return before, after

    return row._replace(
        adc_lsb=worst("adc_lsb"),
        threshold=worst("threshold"),
        leak=worst("leak"),
        not_tuned=sum(sum(layer.success.failed.values()) for layer in layers),
        ranges=tuple(tuple(layer.tuning.adc_range.tolist()) for layer in layers),
    )


def table_of(rows: Sequence[Row]) -> Table:
    """Build the table, two rows for each chip."""
    table = Table(box=box.SIMPLE_HEAD, title="The digits, a day after each write")
    table.add_column("chip")
    for name in (
        *("seed", "tuned", "before %", "after %", "rate error\nbefore", "after", "loss\nafter"),
        *(
            "writes\na cell",
            "ADC\nLSB",
            "threshold\n%",
            "leak\n%",
            "not\ntuned",
            "passed",
            "ranges",
        ),
    ):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _cells(row: Row) -> list[str]:
    learned = [
        *(row.chip, str(row.seed), "yes" if row.tuned else "no"),
        *(f"{100 * share:.1f}" for share in (row.accuracy_before, row.accuracy_after)),
        *(f"{error:.3f}" for error in (row.rate_error_before, row.rate_error_after)),
        *(f"{row.loss_after:.3f}", f"{row.writes_per_cell:.1f}"),
    ]
    if not row.tuned:
        return learned
    return [
        *learned,
        *(_change(row.adc_lsb, 1), _change(row.threshold, 100), _change(row.leak, 100)),
        *(str(row.not_tuned), "yes" if row.passed else "no", _ranges(row.ranges)),
    ]


def _ranges(layers: tuple[tuple[int, ...], ...]) -> str:
    """Codes of the rows of tiles of a layer, with commas; layers with spaces."""
    return " ".join(",".join(map(str, layer)) for layer in layers)


def _change(pair: tuple[float, float] | None, scale: float) -> str:
    return "" if pair is None else f"{scale * pair[0]:.1f} > {scale * pair[1]:.2f}"


def _summed(quality: Quality) -> float:
    return sum(quality.rate_error)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tuning", description=__doc__)
    parser.add_argument("--chips", default=",".join(NAMES))
    parser.add_argument("--seeds", type=int, default=1, help="chips of each kind")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
