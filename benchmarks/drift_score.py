"""Does a probe, which needs no labels, say how much accuracy a chip has lost?

    python -m benchmarks.drift_score [--quick] [--check] [--json FILE] [--fashion STUDENT]

The digits of the demonstration, or Fashion-MNIST with a golden student from a file. Each chip is
calibrated, probed, and left alone; at each age it is probed again and measured with the labels that
the prediction does without. Beside the accuracy lost stands what the service would call the chip by
either of the two.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.datasets import default_folder
from benchmarks.machine import about
from benchmarks.tasks import tasks
from benchmarks.teachers import shown
from benchmarks.tuning import Task, make_task
from chip_sim.chip import SimulatedChip, make_chip
from examples.lab_script import CHIPS
from ltl_core.calibration.drift import MeanFingerprint, drift_between, measure_fingerprint
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.loss_curve import loss_curve
from ltl_core.calibration.prediction import LossCurve, Observation, Prediction, predicted_loss
from ltl_core.calibration.watch import WatchedSamples, observe_loss, watched_samples
from ltl_core.settings import Budget, CalibrationSettings
from ltl_core.student.evaluate import chip_quality
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import evenly_spaced_indices
from service.bench.simulated import spec_of
from service.jobs.health import health_by_accuracy, health_by_prediction
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
SEEDS, SAMPLES = 3, 2000
QUICK_SAMPLES = 1000
FASHION_LEARN, FASHION_TEST = 300, 1000  # samples of Fashion-MNIST that are used
# Of the ranks of prediction and accuracy lost: chips that have lost nothing differ by chance.
CORRELATION_LEAST = 0.9
COVERAGE_LEAST = 0.85  # of intervals of 90 %: a hundred rows have a standard error of 0.03
MISSED, ALARM = 5.0, 1.0  # points lost by a chip that is called good; by one that is called bad


class Row(NamedTuple):
    """One chip at one age since it was published. Losses are since then, in points."""

    chip: str
    seed: int
    age: str
    score: float
    layers: tuple[float, ...]
    by_curve: Prediction  # from the drift score alone
    predicted: Prediction  # with the answers to the watched samples
    accuracy: float
    lost: float
    error: float  # standard error of the accuracy, points
    called: ChipHealth
    by_accuracy: ChipHealth  # as if the chip had been as good as the golden student
    probe_s: float  # seconds that the probe took

    @property
    def complaint(self) -> str | None:
        """Sentence that says what an operator would not accept, or None."""
        what = f"{self.chip} {self.seed}, {self.age}, has lost {self.lost:.1f} points"
        if self.called is ChipHealth.GOOD and self.lost > MISSED:
            return f"{what} and is called good."
        if self.called is ChipHealth.BAD and self.lost < ALARM:
            return f"{what} and is called bad."
        return None

    def holds(self, prediction: Prediction) -> bool:
        """Tell whether the loss is in the interval, within its own standard error."""
        return prediction.low - self.error <= self.lost <= prediction.high + self.error


class Watch(NamedTuple):
    """What every chip of one student is watched with."""

    task: Task
    samples: WatchedSamples
    curve: LossCurve


class Published(NamedTuple):
    """A chip at publication."""

    fingerprint: MeanFingerprint
    observed: Observation
    accuracy: float


class Summary(NamedTuple):
    """How good the predictions of all rows are."""

    score_correlation: float  # Spearman's, with the accuracy lost
    correlation: float
    curve_coverage: float  # fraction of intervals that hold the loss
    coverage: float
    error: float  # root mean square of predicted - lost, points


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a prediction that misleads."""
    options = _options(arguments)
    heading = about("benchmarks.drift_score")
    watch = watch_of(make_task() if options.fashion is None else fashion_task(options.fashion))
    seeds, samples = (1, QUICK_SAMPLES) if options.quick else (SEEDS, SAMPLES)
    rows = [
        row
        for name in PRESETS
        for seed in range(CHIPS[name], CHIPS[name] + seeds)
        for row in aged(watch, name, seed, samples)
    ]
    console, summary = Console(width=140, highlight=False), summary_of(rows)
    console.print(table_of(rows))
    for name, value in summary._asdict().items():
        console.print(f"{name.replace('_', ' ')}: {value:.3f}")
    if options.json is not None:
        curve = {"curve": watch.curve.to_json(), "summary": summary._asdict()}
        found = curve | {"rows": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(heading | found, indent=2) + "\n")
    complaints = list(complaints_about(rows, summary))
    for complaint in complaints:
        console.print(complaint)
    return 1 if options.check and complaints else 0


def complaints_about(rows: Sequence[Row], summary: Summary) -> Iterator[str]:
    """Yield a sentence for everything that misleads."""
    yield from (row.complaint for row in rows if row.complaint is not None)
    if summary.correlation < CORRELATION_LEAST:
        yield f"The rank correlation is below {CORRELATION_LEAST}."
    if summary.coverage < COVERAGE_LEAST:
        yield f"Fewer than {COVERAGE_LEAST:.0%} of the intervals hold the loss."


def fashion_task(student: Path) -> Task:
    """Load Fashion-MNIST, of which a lab would hold some samples, for a golden student."""
    golden, task = Student.from_block(student.read_bytes()), tasks()["fashion-mnist"]
    split = task.load(default_folder())
    learn, test = shown(split.train, task.scaling), shown(split.test, task.scaling)
    some = torch.randperm(len(learn.inputs), generator=torch.Generator().manual_seed(1))
    return Task(
        golden,
        golden_targets(golden, learn.take(some[:FASHION_LEARN])),
        golden_targets(golden, test.take(evenly_spaced_indices(len(test.inputs), FASHION_TEST))),
    )


def watch_of(task: Task) -> Watch:
    """Choose the watched samples, and find the loss curve of the student."""
    samples = watched_samples(task.student, task.test)
    return Watch(task, samples, loss_curve(task.student, samples))


def aged(watch: Watch, name: str, seed: int, samples: int) -> Iterator[Row]:
    """Calibrate one chip, let it age, and measure it at each age."""
    task = watch.task
    chip = make_chip(f"{name}-{seed}", spec_of({"preset": name}), seed)
    settings = CalibrationSettings(budget=Budget(samples=samples), test_samples=None)
    calibration = Calibration(chip, task.student, task.targets, task.test, settings)
    for _ in calibration.steps():
        pass
    published = Published(
        measure_fingerprint(chip),
        observe_loss(chip, task.student, watch.samples),
        calibration.result.after.test.accuracy,
    )
    began = chip.now()
    for age, seconds in AGES.items():
        chip.advance(max(0.0, began + seconds - chip.now()))
        yield row_of(chip, watch, published)._replace(seed=seed, age=age)


def row_of(chip: SimulatedChip, watch: Watch, published: Published) -> Row:
    """Measure the chip as it is now."""
    began, task = time.perf_counter(), watch.task
    drift = drift_between(measure_fingerprint(chip), published.fingerprint)
    observed = observe_loss(chip, task.student, watch.samples).since(published.observed)
    took = time.perf_counter() - began
    predicted = predicted_loss(watch.curve, drift.score, observed=observed)
    accuracy = chip_quality(chip, task.student, task.test).accuracy
    return Row(
        chip=chip.info.model,
        seed=0,
        age="",
        score=drift.score,
        layers=tuple(layer.score for layer in drift.layers),
        by_curve=predicted_loss(watch.curve, drift.score),
        predicted=predicted,
        accuracy=accuracy,
        lost=100 * (published.accuracy - accuracy),
        error=100 * (accuracy * (1 - accuracy) / task.test.size) ** 0.5,
        called=health_by_prediction(predicted),
        by_accuracy=health_by_accuracy(accuracy, published.accuracy),
        probe_s=took,
    )


def summary_of(rows: Sequence[Row]) -> Summary:
    """Summarise the rows."""
    lost, predicted = [row.lost for row in rows], [row.predicted.points for row in rows]
    squares = [(one - other) ** 2 for one, other in zip(predicted, lost, strict=True)]
    return Summary(
        rank_correlation([row.score for row in rows], lost),
        rank_correlation(predicted, lost),
        sum(row.holds(row.by_curve) for row in rows) / len(rows),
        sum(row.holds(row.predicted) for row in rows) / len(rows),
        (sum(squares) / len(squares)) ** 0.5,
    )


def rank_correlation(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return Spearman's rank correlation, in which equal values share their rank."""
    middle = (len(ours) - 1) / 2
    ranks = [[rank - middle for rank in _ranks(values)] for values in (ours, theirs)]
    products = sum(a * b for a, b in zip(*ranks, strict=True))
    spreads = [sum(rank**2 for rank in of) for of in ranks]
    return float(products / (spreads[0] * spreads[1]) ** 0.5)


def _ranks(values: Sequence[float]) -> list[float]:
    """Rank of each value: halfway between how many are smaller and how many are not larger."""
    return [
        (sum(other < value for other in values) + sum(other <= value for other in values) - 1) / 2
        for value in values
    ]


def table_of(rows: Sequence[Row]) -> Table:
    """Build the table, a row for each chip and age."""
    table = Table(box=box.SIMPLE_HEAD, title="Points lost since publication, and predicted")
    for name in ("chip", "seed", "age", "score", "layers"):
        table.add_column(name)
    for name in ("by score alone", "predicted", "lost", "called", "by accuracy", "probe s"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            *(row.chip, str(row.seed), row.age, f"{row.score:.2f}"),
            " ".join(f"{layer:.2f}" for layer in row.layers),
            *(_interval(row.by_curve), _interval(row.predicted), f"{row.lost:+.1f}"),
            *(row.called, row.by_accuracy, f"{row.probe_s:.2f}"),
        )
    return table


def _interval(prediction: Prediction) -> str:
    return f"{prediction.points:.1f} ({prediction.low:.1f} to {prediction.high:.1f})"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.drift_score")
    parser.add_argument("--quick", action="store_true", help="one chip of each kind, less learning")
    parser.add_argument("--check", action="store_true", help="exit code 1 where it misleads")
    parser.add_argument("--fashion", type=Path, help="golden student of Fashion-MNIST, a file")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
