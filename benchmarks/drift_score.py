"""Does the drift score, which needs no labels, say how much a chip has lost?

    python -m benchmarks.drift_score [--quick] [--check] [--json FILE]

The digits of the demonstration. Each chip is calibrated, probed, and left alone; at each age it is
probed again and measured with the labels that the score does without. Beside the accuracy lost
stands what the service would call the chip by either of the two.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.machine import about
from benchmarks.tuning import Task, make_task
from chip_sim.chip import SimulatedChip, make_chip
from examples.lab_script import CHIPS
from ltl_core.calibration.drift import MeanFingerprint, drift_between, measure_fingerprint
from ltl_core.calibration.loop import Calibration
from ltl_core.settings import Budget, CalibrationSettings
from ltl_core.student.evaluate import chip_quality
from service.bench.simulated import spec_of
from service.jobs.health import DriftThresholds, health_by_accuracy, health_by_score
from service.states import ChipHealth

HOUR, DAY = 3600.0, 86_400.0
AGES = {
    "at once": 0.0,
    "1 hour": HOUR,
    "6 hours": 6 * HOUR,
    "1 day": DAY,
    "1 week": 7 * DAY,
    "1 month": 30 * DAY,
    "1 year": 365 * DAY,
}
PRESETS = ("pcm", "hermes", "reram", "harsh")
SEEDS, SAMPLES = 3, 4000
QUICK_SAMPLES = 1000
# Of the ranks of score and accuracy lost: chips that have lost nothing differ by chance.
CORRELATION_LEAST = 0.8
MISSED, ALARM = 0.05, 0.01  # lost by a chip that is called good; by one that is called bad


class Row(NamedTuple):
    """One chip at one age since it was published."""

    chip: str
    seed: int
    age: str
    score: float
    layers: tuple[float, ...]
    accuracy: float
    lost: float  # of the accuracy at publication
    by_score: ChipHealth
    by_loss: ChipHealth  # as if the chip had been as good as the golden student
    probe_s: float  # seconds that the probes took

    @property
    def complaint(self) -> str | None:
        """Sentence that says what an operator would not accept, or None."""
        what = f"{self.chip} {self.seed}, {self.age}, has lost {100 * self.lost:.1f} points"
        if self.by_score is ChipHealth.GOOD and self.lost > MISSED:
            return f"{what} and is called good."
        if self.by_score is ChipHealth.BAD and self.lost < ALARM:
            return f"{what} and is called bad."
        return None


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a score that misleads."""
    options = _options(arguments)
    heading, task = about("benchmarks.drift_score"), make_task()
    seeds, samples = (1, QUICK_SAMPLES) if options.quick else (SEEDS, SAMPLES)
    rows = [
        row
        for name in PRESETS
        for seed in range(CHIPS[name], CHIPS[name] + seeds)
        for row in aged(task, name, seed, samples)
    ]
    console, correlation = Console(width=120, highlight=False), rank_correlation(rows)
    console.print(table_of(rows))
    console.print(f"Rank correlation of score and accuracy lost: {correlation:.3f}")
    if options.json is not None:
        found = {"rank_correlation": correlation, "rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(heading | found, indent=2) + "\n")
    complaints = [row.complaint for row in rows if row.complaint is not None]
    if correlation < CORRELATION_LEAST:
        complaints.append(f"The rank correlation is below {CORRELATION_LEAST}.")
    for complaint in complaints:
        console.print(complaint)
    return 1 if options.check and complaints else 0


def aged(task: Task, name: str, seed: int, samples: int) -> Iterator[Row]:
    """Calibrate one chip, let it age, and measure it at each age."""
    chip = make_chip(f"{name}-{seed}", spec_of({"preset": name}), seed)
    settings = CalibrationSettings(budget=Budget(samples=samples))
    calibration = Calibration(chip, task.student, task.targets, task.test, settings)
    for _ in calibration.steps():
        pass
    before, published = calibration.result.after.test.accuracy, measure_fingerprint(chip)
    began = chip.now()
    for age, seconds in AGES.items():
        chip.advance(max(0.0, began + seconds - chip.now()))
        yield row_of(chip, task, published, before)._replace(seed=seed, age=age)


def row_of(chip: SimulatedChip, task: Task, published: MeanFingerprint, before: float) -> Row:
    """Measure the chip as it is now."""
    began = time.perf_counter()
    found = drift_between(measure_fingerprint(chip), published)
    took = time.perf_counter() - began
    accuracy = chip_quality(chip, task.student, task.test).accuracy
    return Row(
        chip=chip.info.model,
        seed=0,
        age="",
        score=found.score,
        layers=tuple(layer.score for layer in found.layers),
        accuracy=accuracy,
        lost=before - accuracy,
        by_score=health_by_score(found.score, DriftThresholds()),
        by_loss=health_by_accuracy(accuracy, before),
        probe_s=took,
    )


def rank_correlation(rows: Sequence[Row]) -> float:
    """Spearman's rank correlation, in which equal values share their rank."""
    ours, theirs = (_ranks([getattr(row, name) for row in rows]) for name in ("score", "lost"))
    middle = (len(rows) - 1) / 2
    products = [(a - middle) * (b - middle) for a, b in zip(ours, theirs, strict=True)]
    spreads = [sum((rank - middle) ** 2 for rank in ranks) for ranks in (ours, theirs)]
    return float(sum(products) / (spreads[0] * spreads[1]) ** 0.5)


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value: halfway between how many are smaller and how many are not larger."""
    return [
        (sum(other < value for other in values) + sum(other <= value for other in values) - 1) / 2
        for value in values
    ]


def table_of(rows: Sequence[Row]) -> Table:
    """Build the table, a row for each chip and age."""
    table = Table(box=box.SIMPLE_HEAD, title="The digits, a minute after each write and later")
    for name in ("chip", "seed", "age", "score", "layers"):
        table.add_column(name)
    for name in ("accuracy %", "lost, points", "by score", "by accuracy", "probe s"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            *(row.chip, str(row.seed), row.age, f"{row.score:.2f}"),
            " ".join(f"{layer:.2f}" for layer in row.layers),
            *(f"{100 * row.accuracy:.1f}", f"{100 * row.lost:+.1f}"),
            *(row.by_score, row.by_loss, f"{row.probe_s:.2f}"),
        )
    return table


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.drift_score")
    parser.add_argument("--quick", action="store_true", help="one chip of each kind, less learning")
    parser.add_argument("--check", action="store_true", help="exit code 1 where the score misleads")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
