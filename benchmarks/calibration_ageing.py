"""How long a calibration lasts, and what brings a chip back, on a network of Fashion-MNIST.

    python -m benchmarks.calibration_ageing [--presets pcm,hermes,harsh] [--chips N] [--year]
                                            [--json FILE] [--golden FILE] [--task TASK]
                                            [--quick] [--check]

Each chip is calibrated as in `benchmarks.calibration`, experiment "hundred", and published. Then it
is left alone for 30 days of its clock, and treated in one of these ways:

| experiment | treatment |
|---|---|
| nothing | none |
| drift | the compensation of drift alone: no sample, no write |
| trims | the same, and then trims on 100 samples without labels, 400 presented |
| last-trims | none; but the chip had aged a day before the last trims of its calibration |

`--year` follows chips over a year. Whenever the loss that a probe predicts passes a point, the
drift is compensated; if a point is still lost, trims follow, and then cells. A file that is there
already is added to: chips that stand in it are not run again.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from benchmarks.calibration import (
    EXPERIMENTS,
    FASHION,
    FIRST_SEED,
    QUICK_TEST,
    Golden,
    Task,
    calibrated,
    chip_of,
    listed,
    make_task,
)
from benchmarks.calibration_ageing_rows import (
    AgeingRow,
    YearRow,
    complaints_about,
    sentence_of,
    table_of,
    year_table_of,
)
from benchmarks.machine import about
from benchmarks.missing_data import MissingDataError
from benchmarks.row_file import exit_code, keep_rows, read_rows, write_rows
from benchmarks.tasks import tasks
from chip_sim.chip import SimulatedChip
from ltl_core.calibration.drift import drift_between, measure_fingerprint
from ltl_core.calibration.drift_stage import InForce
from ltl_core.calibration.loop import Calibration
from ltl_core.calibration.loss_curve import loss_curve
from ltl_core.calibration.prediction import LossCurve, Observation, Prediction, predicted_loss
from ltl_core.calibration.result import CalibrationResult
from ltl_core.calibration.watch import WatchedSamples, observe_loss, watched_samples
from ltl_core.settings import Budget, CalibrationSettings, StageName
from ltl_core.student.evaluate import chip_quality
from service.jobs.kinds.last_trims import last_trims_settings

PRESETS, CHIPS = ("pcm", "hermes", "harsh"), 10
DAY = 86_400.0
WAIT_S = 30 * DAY
SHOWN, SHOWN_IN_YEAR, DISTINCT = 400, 1000, 100
ALARM = 1.0  # points: a predicted loss that calls for an action
YEAR = (1 / 24, 0.25, 1, 3, 7, 14, 30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 330, 365)  # days


class Published(NamedTuple):
    """A version in force, and what the chip answered when it was published."""

    version: InForce
    accuracy: float  # %
    observed: Observation | None = None  # on the watched samples


class Watch(NamedTuple):
    """What tells the loss of a chip from its probes."""

    samples: WatchedSamples
    curve: LossCurve


class Treated(NamedTuple):
    """What a treatment came to."""

    result: CalibrationResult
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a figure that misses its limit."""
    options = _options(arguments)
    console, heading = Console(width=150, highlight=False), about("benchmarks.calibration_ageing")
    task = make_task(options.golden, options.test, Golden(options.task))
    console.print(f"The golden student has {task.golden:.2f} %.")
    if options.year:
        _follow_years(task, options, console)
        return 0
    rows = read_rows(options.json, AgeingRow)
    for row in keep_rows(_measured(task, options, rows), rows, options.json, heading):
        console.print(sentence_of(row))
    console.print(table_of(rows))
    return exit_code(console, complaints_about(rows), check=options.check)


def aged(task: Task, preset: str, seed: int) -> Iterator[AgeingRow]:
    """Calibrate one chip, let it age for 30 days, and treat it in each way."""
    chip = chip_of(preset, seed)
    settings, published = publish(task, chip, preset)
    fresh = chip.state()
    chip.advance(WAIT_S)
    old = _accuracy(task, chip)
    row = AgeingRow("nothing", preset, seed, task.golden, published.accuracy, old, old, 0, 0.0, 0.0)
    yield row
    for name, stages in (("drift", (StageName.DRIFT,)), ("trims", (StageName.TRIMS,))):
        done = treat(task, chip, published.version, _treatment(*stages))
        yield _after(row._replace(experiment=name), done, _accuracy(task, chip))
    chip.restore(fresh)
    chip.advance(DAY)
    done = treat(task, chip, published.version, last_trims_settings(settings))
    published = published._replace(accuracy=_accuracy(task, chip))
    chip.advance(WAIT_S)
    old = _accuracy(task, chip)
    row = row._replace(experiment="last-trims", published=published.accuracy, aged=old)
    yield _after(row, done, old)


def publish(
    task: Task, chip: SimulatedChip, preset: str, watch: Watch | None = None
) -> tuple[CalibrationSettings, Published]:
    """Calibrate a chip for the first time; return the settings, and the version in force."""
    settings = EXPERIMENTS["hundred"].settings(preset)
    return settings, _published(task, chip, calibrated(task, settings, chip).result, watch)


def treat(
    task: Task, chip: SimulatedChip, version: InForce, settings: CalibrationSettings
) -> Treated:
    """Calibrate a chip again, beginning with the version in force."""
    began = time.perf_counter()
    calibration = Calibration(chip, task.student, task.pool, task.test, settings, start=version)
    for _ in calibration.steps():
        pass
    return Treated(calibration.result, time.perf_counter() - began)


def year(task: Task, watch: Watch, preset: str, seed: int) -> Iterator[YearRow]:
    """Follow one chip over a year, and beside it the same chip where nothing is done."""
    chip, other = chip_of(preset, seed), chip_of(preset, seed)
    _, published = publish(task, chip, preset, watch)
    other.restore(chip.state())
    began = chip.now()
    for age in (days * DAY for days in YEAR):
        for one in (chip, other):
            one.advance(max(0.0, began + age - one.now()))
        accuracy, predicted = _accuracy(task, chip), _predicted(task, chip, published, watch)
        row = YearRow(
            *(preset, seed, age, _accuracy(task, other), accuracy, *predicted),
            *("", accuracy, 0.0),
        )
        if predicted.points > ALARM:
            settings = _treatment(StageName.DRIFT, StageName.TRIMS, StageName.CELLS)
            found = treat(task, chip, published.version, settings).result
            after = _published(task, chip, found, watch)
            # A version of before is still in force if drift alone was compensated.
            published = after if found.is_new_version else published
            ran = dict.fromkeys(str(stage.stage) for stage in found.stages)
            row = row._replace(
                action=" ".join(ran) if found.improved else "put back",
                after=after.accuracy,
                writes=found.spent.cell_writes_per_cell,
            )
        yield row


def _treatment(*stages: StageName) -> CalibrationSettings:
    alone = len(stages) == 1
    settings = CalibrationSettings(
        stages=stages,
        budget=Budget(samples=SHOWN if alone else SHOWN_IN_YEAR, distinct=DISTINCT),
        target_points=None if alone else ALARM / 2,
    )
    # What learns nothing is judged by the test samples, as many as in a job; the rest is judged by
    # others, and the chip is measured on all test samples afterwards.
    return settings.model_copy(update={"test_samples": 1}) if settings.learns else settings


def _after(row: AgeingRow, done: Treated, accuracy: float) -> AgeingRow:
    spent = done.result.spent
    return row._replace(
        after=accuracy,
        samples=spent.samples,
        writes=spent.cell_writes_per_cell,
        seconds=done.seconds,
    )


def _published(
    task: Task, chip: SimulatedChip, found: CalibrationResult, watch: Watch | None
) -> Published:
    version = InForce(found.codes, measure_fingerprint(chip))
    observed = None if watch is None else observe_loss(chip, task.student, watch.samples)
    return Published(version, _accuracy(task, chip), observed)


def _predicted(task: Task, chip: SimulatedChip, published: Published, watch: Watch) -> Prediction:
    """Predict the points lost since publication, as a probe does."""
    fingerprint, observed = published.version.fingerprint, published.observed
    if fingerprint is None or observed is None:
        raise ValueError("A version of the year has a fingerprint and an observed loss.")
    score = drift_between(measure_fingerprint(chip), fingerprint).score
    now = observe_loss(chip, task.student, watch.samples)
    return predicted_loss(watch.curve, score, observed=now.since(observed))


def _accuracy(task: Task, chip: SimulatedChip) -> float:
    return 100 * chip_quality(chip, task.student, task.test).accuracy


def _measured(
    task: Task, options: argparse.Namespace, done: Sequence[AgeingRow]
) -> Iterator[AgeingRow]:
    """Run the chips that are not in the file yet."""
    have = {(row.experiment, row.preset, row.seed) for row in done}
    for seed in range(options.first, options.first + options.chips):
        for preset in options.presets:
            if ("last-trims", preset, seed) not in have:
                rows = aged(task, preset, seed)
                yield from (row for row in rows if (row[0], preset, seed) not in have)


def _follow_years(task: Task, options: argparse.Namespace, console: Console) -> None:
    rows = read_rows(options.json, YearRow)
    samples = watched_samples(task.student, task.test)
    watch = Watch(samples, loss_curve(task.student, samples))
    have = {(row.preset, row.seed) for row in rows if row.age_s >= YEAR[-1] * DAY}
    for seed in range(options.first, options.first + options.chips):
        for preset in options.presets:
            if (preset, seed) not in have:
                rows = [row for row in rows if (row.preset, row.seed) != (preset, seed)]
                for row in year(task, watch, preset, seed):
                    rows.append(row)
                    write_rows(options.json, about("benchmarks.calibration_ageing"), rows)
    console.print(year_table_of(rows))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.calibration_ageing",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--presets", type=listed, default=PRESETS, help=",".join(PRESETS))
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each preset")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first chip")
    parser.add_argument("--test", type=int, help="test images to measure on; all of them if absent")
    parser.add_argument("--year", action="store_true", help="follow chips over a year instead")
    parser.add_argument("--golden", type=Path, help="read the golden student from, or keep it in")
    what = "data, and the network that goes with them"
    parser.add_argument("--task", choices=tuple(tasks()), default=FASHION, help=what)
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    parser.add_argument("--quick", action="store_true", help="1,000 test images, one chip")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a figure misses")
    options = parser.parse_args(arguments)
    if options.quick:
        options.chips, options.test = 1, QUICK_TEST
    return options


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingDataError as error:
        sys.exit(str(error))
