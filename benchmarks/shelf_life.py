"""Is the validity of a version the age at which it has truly lost one point?

    python -m benchmarks.shelf_life [--fashion STUDENT] [--presets pcm,hermes] [--chips N]
                                    [--json FILE] [--quick] [--check]

Each chip is calibrated and left alone. Its validity is predicted at publication, and again after a
probe at one hour, one day and one week. In between and up to 30 days it is measured with labels,
which no prediction uses. Then it is calibrated again, as the planner does; if that publishes a
version, its validity is predicted from the history of the first. Without `--fashion` the chips hold
the digits of the demonstration.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from jaxtyping import Float
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.drift_score import Watch, fashion_task, watch_of
from benchmarks.machine import about
from benchmarks.row_file import exit_code
from benchmarks.tuning import make_task
from chip_sim.chip import SimulatedChip, make_chip
from ltl_core.calibration.drift import MeanFingerprint, drift_between, measure_fingerprint
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.prediction import Observation
from ltl_core.calibration.shelf_life import (
    LONGEST_S,
    ProbePoint,
    Span,
    Validity,
    cells_age,
    chip_drift,
    validity,
)
from ltl_core.calibration.watch import observe_loss
from ltl_core.chip import LayerCodes
from ltl_core.settings import AFTER_DRIFT, Budget, CalibrationSettings
from ltl_core.student.evaluate import chip_logits
from service.bench.simulated import spec_of

HOUR, DAY = 3600.0, 86_400.0
PROBES = {"1 hour": HOUR, "1 day": DAY, "1 week": 7 * DAY}
AGES = (600.0, HOUR, 3 * HOUR, 8 * HOUR, DAY, 3 * DAY, 7 * DAY)
LAST = 30 * DAY
PRESETS = ("pcm", "hermes", "harsh")
FIRST_SEED, CHIPS = 401, 3
SAMPLES = 1000  # presented by a calibration
HOLDS_LEAST = 0.8  # fraction of the intervals of 90 % after a probe that hold the true end
EARLY_MOST = 0.1  # fraction of those versions that ended before the interval began


class End(NamedTuple):
    """Age at which a version had lost one point, s; no end within 30 days is infinite."""

    age_s: float
    low_s: float  # at which the loss was one point, less its standard error
    high_s: float


class Row(NamedTuple):
    """One prediction for one version of one chip."""

    preset: str
    seed: int
    version: int
    known: str  # age at the last probe
    predicted: Validity
    true: End
    lost: tuple[float, ...]  # points, at each of the ages

    @property
    def holds(self) -> bool:
        """Whether the true end is in the interval, within the error of its measurement."""
        return self.predicted.low_s <= self.true.high_s and self.true.low_s <= self.predicted.high_s

    @property
    def is_early(self) -> bool:
        """Whether the version had surely ended before the interval began."""
        return self.true.high_s < self.predicted.low_s


class Published(NamedTuple):
    """A version at publication."""

    codes: dict[str, LayerCodes]
    at: float  # the chip's clock, s
    fingerprint: MeanFingerprint
    observed: Observation
    right: Float[Tensor, " sample"]  # fraction of answers that were right
    span: Span
    compensated: bool  # the codes are those of before


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds validities that mislead."""
    options = _options(arguments)
    heading = about("benchmarks.shelf_life")
    task = make_task() if options.fashion is None else fashion_task(options.fashion)
    watch = watch_of(task)
    console, rows = Console(width=140, highlight=False), []
    for seed in range(FIRST_SEED, FIRST_SEED + options.chips):
        for preset in options.presets.split(","):
            rows += list(life_of(watch, preset, seed))
            console.print(
                table_of([row for row in rows if (row.preset, row.seed) == (preset, seed)])
            )
            if options.json is not None:
                found = {"images": task.test.size, "curve": watch.curve.to_json()}
                content = heading | found | {"rows": [_row_json(row) for row in rows]}
                options.json.write_text(json.dumps(content, indent=2) + "\n")
    return exit_code(console, complaints_about(rows), check=options.check)


def complaints_about(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for everything that misleads a planner."""
    probed = [row for row in rows if row.known in PROBES]
    if not probed:
        return
    holds = sum(row.holds for row in probed) / len(probed)
    early = sum(row.is_early for row in probed) / len(probed)
    if holds < HOLDS_LEAST:
        yield f"{holds:.0%} of the intervals after a probe hold the end, wanted {HOLDS_LEAST:.0%}."
    if early > EARLY_MOST:
        yield f"{early:.0%} of the versions ended before their interval, allowed {EARLY_MOST:.0%}."


def life_of(watch: Watch, preset: str, seed: int) -> Iterator[Row]:
    """Yield the predictions for the first two versions of a chip, and how they went."""
    chip = make_chip(f"{preset}-{seed}", spec_of({"preset": preset}), seed)
    first = calibrated(watch, chip, None)
    points, lost = aged(watch, chip, first)
    true = end_of(lost)
    for count, known in enumerate(("publication", *PROBES)):
        drift = chip_drift(points[:count], watch.curve)
        predicted = validity(drift, watch.curve, first.span)
        yield Row(preset, seed, 1, known, predicted, true, tuple(one for one, _ in lost))
    second = calibrated(watch, chip, first)
    if second.compensated:
        return  # the chip was near enough: no version was published
    drift = chip_drift(points, watch.curve)
    predicted = validity(drift, watch.curve, second.span)
    _, lost = aged(watch, chip, second)
    losses = tuple(one for one, _ in lost)
    yield Row(preset, seed, 2, "version 1", predicted, end_of(lost), losses)


def calibrated(watch: Watch, chip: SimulatedChip, before: Published | None) -> Published:
    """Calibrate the chip, from the version before if there is one, and describe what it holds."""
    task = watch.task
    stages = {} if before is None else {"stages": AFTER_DRIFT}
    start = None if before is None else InForce(before.codes, before.fingerprint)
    settings = CalibrationSettings(budget=Budget(samples=SAMPLES), test_samples=1, **stages)
    calibration = Calibration(chip, task.student, task.targets, task.test, settings, start=start)
    for _ in calibration.steps():
        pass
    found, span = calibration.result, Span()
    if before is not None:
        kept = before.span.cells_s + chip.now() - before.at
        span = Span(cells_s=cells_age(kept, found.spent.cell_writes_per_cell))
    return Published(
        codes=found.codes,
        at=chip.now(),
        fingerprint=measure_fingerprint(chip),
        observed=observe_loss(chip, task.student, watch.samples),
        right=_right(watch, chip),
        span=span,
        compensated=before is not None and not found.is_new_version,
    )


def aged(
    watch: Watch, chip: SimulatedChip, version: Published
) -> tuple[list[ProbePoint], list[tuple[float, float]]]:
    """Let the chip age; return its probes, and points lost with standard errors at all ages."""
    points, lost = [], []
    for age in (*AGES, LAST):
        chip.advance(max(0.0, version.at + age - chip.now()))
        if age in PROBES.values():
            drift = drift_between(measure_fingerprint(chip), version.fingerprint)
            observed = observe_loss(chip, watch.task.student, watch.samples)
            points.append(
                ProbePoint(version.span, age, drift.score, observed.since(version.observed))
            )
        missed = version.right - _right(watch, chip)
        error = float(missed.std()) / math.sqrt(len(missed))
        lost.append((100 * float(missed.mean()), 100 * error))
    return points, lost


def end_of(lost: Sequence[tuple[float, float]]) -> End:
    """Return when one point was lost, by the isotonic regression of the loss on the age."""
    losses = isotonic([points for points, _ in lost])
    near = min(range(len(lost)), key=lambda place: abs(losses[place] - 1.0))
    error = lost[near][1]
    age, low, high = (_crossing(losses, points) for points in (1.0, 1.0 - error, 1.0 + error))
    return End(age, low, high)


def isotonic(values: Sequence[float]) -> list[float]:
    """Return the nearest sequence that never falls: neighbours that fall become their mean."""
    blocks: list[tuple[float, int]] = []
    for value in values:
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n)]
    return [value for value, count in blocks for _ in range(count)]


def _crossing(losses: Sequence[float], points: float) -> float:
    """Return the age at which so many points are lost; between ages by the logarithm of the age."""
    curve = [(0.0, 0.0), *zip((*AGES, LAST), losses, strict=True)]
    for (age, lost), (next_age, more) in pairwise(curve):
        if more >= points:
            part = max(points - lost, 0.0) / max(more - lost, 1e-9)
            first, last = math.log1p(age / 60), math.log1p(next_age / 60)
            return 60 * math.expm1(first + part * (last - first))
    return math.inf


def _right(watch: Watch, chip: SimulatedChip) -> Float[Tensor, " sample"]:
    """Return for each test sample whether the chip answers it right."""
    samples = watch.task.test.samples
    chosen = chip_logits(chip, watch.task.student, samples.inputs).argmax(1)
    if samples.labels is None:
        raise ValueError("The test samples need labels.")
    return chosen.eq(samples.labels).double()


def table_of(rows: Sequence[Row]) -> Table:
    """Build the table, a row for each prediction."""
    table = Table(box=box.SIMPLE_HEAD, title="Age at which one point of accuracy is lost")
    for name in ("chip", "seed", "version", "last probe"):
        table.add_column(name)
    for name in ("predicted", "interval", "true", "within its error", "holds"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            *(row.preset, str(row.seed), str(row.version), row.known),
            *(_age(row.predicted.age_s), _range(row.predicted)),
            *(_age(row.true.age_s), _range(row.true), "yes" if row.holds else "no"),
        )
    return table


def _range(of: Validity | End) -> str:
    return f"{_age(of.low_s)} to {_age(of.high_s)}"


def _age(seconds: float) -> str:
    """Format an age with two digits, in the unit that suits it."""
    if seconds == math.inf:
        return "over 30 d"
    if seconds >= LONGEST_S:
        return "over 10 years"
    for unit, length in (("d", DAY), ("h", HOUR)):
        if seconds >= length:
            return f"{seconds / length:.{0 if seconds >= 10 * length else 1}f} {unit}"
    return f"{seconds / 60:.2g} min"


def _row_json(row: Row) -> dict[str, object]:
    """Return a row as JSON data; an age without end is null."""
    true = {name: None if age == math.inf else age for name, age in row.true._asdict().items()}
    return row._asdict() | {"predicted": row.predicted.to_json(), "true": true, "holds": row.holds}


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.shelf_life")
    parser.add_argument("--fashion", type=Path, help="golden student of Fashion-MNIST, a file")
    parser.add_argument("--presets", default=",".join(PRESETS), help="kinds of chips, with commas")
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each kind")
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    parser.add_argument("--quick", action="store_true", help="one chip of each kind")
    parser.add_argument("--check", action="store_true", help="exit code 1 where it misleads")
    options = parser.parse_args(arguments)
    if options.quick:
        options.chips = 1
    return options


if __name__ == "__main__":
    sys.exit(main())
