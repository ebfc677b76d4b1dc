"""Does a chip on physics that nobody here wrote come back as a simulated one does?

    python -m benchmarks.interop_chips [--seeds N] [--json FILE]

The golden student of the demonstration (digits of 8 x 8 pixels) is calibrated, with its settings,
on chips of the preset `pcm` and on chips of IBM's aihwkit behind `examples/drivers/aihwkit_chip`.
Each chip ages a day after it was written, and is then measured.
"""

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import about
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from examples.lab_script import SETTLE_S, read_digits, train_teacher
from ltl_core.calibration.loop import Calibration
from ltl_core.chip import ChipBackend
from ltl_core.interop.from_torch import from_torch
from ltl_core.settings import CalibrationSettings, RuleName, TrainingSettings
from ltl_core.student.evaluate import student_quality
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, TargetSet
from ltl_core.teaching.teacher import collect
from ltl_core.training.training import Training

PROJECT = Path(__file__).parents[1] / "examples" / "drivers" / "aihwkit_chip"
SETTINGS = CalibrationSettings(rule=RuleName.LTL_ONLINE, settle_s=SETTLE_S)
Make = Callable[[int], ChipBackend]


class ChipRow(NamedTuple):
    """What became of one chip. Accuracies in %, on samples that nothing was trained on."""

    chip: str
    seed: int
    golden: float
    before: float
    after: float
    recovered: float  # (after - before) / (golden - before)
    samples: int
    cells: int
    pulses: int
    ended_by: str
    seconds: float


class Demonstration(NamedTuple):
    """The golden student of the demonstration, and its samples."""

    student: Student
    targets: TargetSet
    test: TargetSet
    golden: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate all chips, and print a row for each."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interop_chips")
    parser.add_argument("--seeds", type=int, default=5, help="of each chip, from 1 on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    heading, console = about("benchmarks.interop_chips"), Console(width=120)
    task, rows = demonstration(), []
    for row in chip_rows(task, makers(), range(1, options.seeds + 1)):
        console.print(" ".join(map(_cell, row)), highlight=False)
        rows.append(row)
    console.print(_table(rows))
    if options.json is not None:
        content = heading | {"chips": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def demonstration() -> Demonstration:
    """Train teacher and golden student as the demonstration does."""
    splits = read_digits()
    learn, held = Samples(*splits.calibration), Samples(*splits.test)
    network, weights = from_torch(train_teacher(splits.calibration), input_shape=(1, 8, 8))
    targets = collect(network, weights, learn)
    test = collect(network, weights, held, scales=targets.scales)
    training = Training(network, weights, targets, TrainingSettings())
    for _ in training.epochs():
        pass
    golden = 100 * student_quality(training.student, test).accuracy
    return Demonstration(training.student, targets, test, golden)


def makers() -> Mapping[str, Make]:
    """Return what makes each kind of chip from a seed; without aihwkit there is one kind."""
    found: dict[str, Make] = {
        "pcm": lambda seed: make_chip(f"pcm-{seed}", preset("pcm"), seed),
    }
    sys.path.append(str(PROJECT))
    try:
        driver = importlib.import_module("aihwkit_chip.driver")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"{error.name} is not installed: its chips are left out.\n")
        return found
    return found | {"aihwkit": lambda seed: driver.make_chip(f"aihwkit-{seed}", {"seed": seed})}


def chip_rows(
    task: Demonstration, made: Mapping[str, Make], seeds: Sequence[int]
) -> Iterator[ChipRow]:
    """Yield a row for each chip."""
    for name, make in made.items():
        for seed in seeds:
            yield chip_row(task, name, seed, make(seed))


def chip_row(task: Demonstration, name: str, seed: int, chip: ChipBackend) -> ChipRow:
    """Calibrate one chip."""
    began = time.perf_counter()
    calibration = Calibration(chip, task.student, task.targets, task.test, SETTINGS)
    for _ in calibration.steps():
        pass
    result = calibration.result
    before, after = (100 * found.test.accuracy for found in (result.before, result.after))
    return ChipRow(
        chip=name,
        seed=seed,
        golden=task.golden,
        before=before,
        after=after,
        recovered=(after - before) / max(task.golden - before, 1e-9),
        samples=result.spent.samples,
        cells=result.spent.cells,
        pulses=result.spent.pulses,
        ended_by=result.ended_by,
        seconds=time.perf_counter() - began,
    )


def _table(rows: Sequence[ChipRow]) -> Table:
    """Build the table: the mean of the chips of each kind, and the worst."""
    table = Table(title="mean of the chips (lowest)", box=box.SIMPLE)
    for name in ("chip", "chips", "golden", "before", "after", "lost and recovered"):
        table.add_column(name)
    for name in dict.fromkeys(row.chip for row in rows):
        group = [row for row in rows if row.chip == name]
        before, after = ([getattr(row, field) for row in group] for field in ("before", "after"))
        golden = group[0].golden
        recovered = (mean(after) - mean(before)) / max(golden - mean(before), 1e-9)
        table.add_row(
            *(name, str(len(group)), f"{golden:.1f}"),
            *(f"{mean(values):.1f} ({min(values):.1f})" for values in (before, after)),
            f"{recovered:.2f}",
        )
    return table


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
