"""Seconds from the submission of a calibration until its end, in a service of its own.

    python -m benchmarks.job_seconds [--folder DIR] [--chips N] [--cases auto,trims,drift]
                                     [--json FILE] [--check]

The service keeps its data in SQLite and runs one job at a time, on all cores. The golden student is
a network of Fashion-MNIST (conv 32/2, conv 64/2, fc 128, fc 10; T = 16) that the service trains
itself on 10,000 images; all 10,000 test images are uploaded. Each chip is new, and is calibrated
three times: by all stages, a second one by trims alone, and the first one again a month later, when
drift alone is compensated. With `--folder` the service, with its student, is kept for the next run.
"""

import argparse
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from types import MappingProxyType
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.datasets import default_folder
from benchmarks.job_latency import TRAINED_WITHIN, Service, running_service
from benchmarks.machine import about
from benchmarks.missing_data import MissingDataError
from benchmarks.row_file import exit_code, grouped, keep_rows, read_rows
from benchmarks.tasks import tasks
from benchmarks.teachers import shown, teacher_of
from ltl_core.settings import Budget, CalibrationSettings, StageName, TrainingSettings
from ltl_core.teaching.targets import Samples as Learned
from service.client.job import Job
from service.client.sdk import Tandemcal
from service.client.teachers import Splits
from service.client.tensors import Samples

PRESET = "pcm"
FIRST_SEED, CHIPS = 301, 3
LEARNED = 10_000  # images that the teacher and its student learn from
TEACHER_EPOCHS, STUDENT_EPOCHS = 4, 2
MONTH = 30 * 86400.0  # s
NAME = "fashion-mnist"
ONE_JOB = MappingProxyType({"TANDEMCAL_PARALLEL_JOBS": "1"})  # so it may use all cores


class Case(NamedTuple):
    """One kind of calibration, and how long it may take."""

    settings: CalibrationSettings
    at_most: float  # s


CASES: Mapping[str, Case] = MappingProxyType(
    {
        # The budget is used up: how soon a target is met differs from chip to chip.
        "auto": Case(
            CalibrationSettings(budget=Budget(samples=1000, distinct=100), target_points=None),
            at_most=15.0,
        ),
        "trims": Case(
            CalibrationSettings(
                budget=Budget(samples=400, distinct=100),
                stages=(StageName.TRIMS,),
                target_points=None,
            ),
            at_most=6.0,
        ),
        "drift": Case(CalibrationSettings(stages=(StageName.DRIFT,)), at_most=2.0),
    }
)


class Row(NamedTuple):
    """How long one calibration took."""

    case: str
    seed: int
    seconds: float  # from the submission until the client knows of the end
    waited: float  # of these, before the job was started
    in_process: float  # of these, of the job's own process
    before: float  # accuracy of the chip
    after: float
    golden: float
    shown: int  # presentations to learn from
    measured: int  # and to measure the chip
    published: bool  # weights, or the compensation of drift


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; exit code 1 where `--check` finds a median above its limit."""
    options = _options(arguments)
    console, rows = Console(width=120, highlight=False), read_rows(options.json, Row)
    with _folder(options.folder) as folder, running_service(folder, **ONE_JOB) as service:
        found = _measured(service, folder, options, rows)
        for row in keep_rows(found, rows, options.json, about("benchmarks.job_seconds")):
            console.print(f"{row.case}, chip {row.seed}: {row.seconds:.1f} s")
    console.print(table_of(rows))
    return exit_code(console, complaints_about(rows), check=options.check)


def complaints_about(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for each case that takes too long, or that came to nothing."""
    for (name,), found in grouped(rows, "case").items():
        took, limit = median(row.seconds for row in found), CASES[name].at_most
        if took > limit:
            yield f"{name}: {took:.1f} s in the median, where {limit:.0f} are wanted"
        if not all(row.published for row in found):
            yield f"{name}: not every calibration made a chip better"


def table_of(rows: Sequence[Row]) -> Table:
    """Return the median of each case as a table."""
    table = Table(
        "case", "chips", "s", "worst", "at most", "waited", "own process", "shown", "measured"
    )
    for (name,), found in grouped(rows, "case").items():
        seconds = [row.seconds for row in found]
        table.add_row(
            name,
            str(len(found)),
            f"{median(seconds):.2f}",
            f"{max(seconds):.2f}",
            f"{CASES[name].at_most:.0f}",
            f"{median(row.waited for row in found):.2f}",
            f"{median(row.in_process for row in found):.2f}",
            f"{median(row.shown for row in found):.0f}",
            f"{median(row.measured for row in found):.0f}",
        )
    return table


def _measured(
    service: Service, folder: Path, options: argparse.Namespace, done: Sequence[Row]
) -> Iterator[Row]:
    """Yield what is not in the file yet, chip by chip."""
    have = {(row.case, row.seed) for row in done}
    with Tandemcal(service.url, service.key) as client:
        bench = _Bench(client, folder, _student(client))
        for seed in range(FIRST_SEED, FIRST_SEED + options.chips):
            for name in options.cases:
                if (name, seed) not in have:
                    yield bench.timed(name, seed)


class _Bench(NamedTuple):
    """A service, and the golden student that its chips are calibrated for."""

    client: Tandemcal
    folder: Path
    student: str

    def timed(self, name: str, seed: int) -> Row:
        """Calibrate a new chip, and time it; a month after a calibration if drift is the case."""
        label = f"{name}-{seed}-{time.time_ns()}"
        chip = self.client.chips.register(label, preset=PRESET, seed=seed).id
        if name == "drift":
            self._calibrated(chip, "trims")
            _let_pass(self.folder, chip, MONTH)
        began = time.perf_counter()
        job = self._calibrated(chip, name)
        return _row(name, seed, job, time.perf_counter() - began)

    def _calibrated(self, chip: str, name: str) -> Job:
        job = self.client.jobs.calibrate(chip, self.student, CASES[name].settings)
        return self.client.jobs.wait(job.id, timeout=TRAINED_WITHIN)


def _row(name: str, seed: int, job: Job, seconds: float) -> Row:
    """Read what the job says of itself. Raises SystemExit if it failed."""
    result = job.result
    if result is None or job.started_at is None:
        raise SystemExit(f"{name}, chip {seed}: {job.status}, {job.reason}")
    spent, accuracy = result["spent"], result["accuracy"]
    return Row(
        case=name,
        seed=seed,
        seconds=round(seconds, 3),
        waited=round((job.started_at - job.created_at).total_seconds(), 3),
        in_process=spent["seconds"],
        before=accuracy["before"],
        after=accuracy["after"],
        golden=accuracy["golden"],
        shown=spent["samples"],
        measured=spent["samples_measured"],
        published=result["published"] or result["compensated"],
    )


def _let_pass(folder: Path, chip: str, seconds: float) -> None:
    """Let a chip in software be idle for so long: its state was saved by so much earlier."""
    with closing(sqlite3.connect(folder / "tandemcal.sqlite")) as database, database:
        (saved,) = database.execute(
            "SELECT state_saved_at FROM chips WHERE id = ?", (chip,)
        ).fetchone()
        then = datetime.fromisoformat(saved) - timedelta(seconds=seconds)
        database.execute(
            "UPDATE chips SET state_saved_at = ? WHERE id = ?", (then.isoformat(" "), chip)
        )


def _student(client: Tandemcal) -> str:
    """Return the id of the golden student; train it if the service has none yet."""
    known = [student.id for student in client.students.list()]
    if known:
        return known[0]
    task = tasks()[NAME]
    split = task.load(default_folder())
    few = split._replace(train=split.train.take(torch.arange(LEARNED)))
    short = task._replace(recipe=task.recipe._replace(epochs=TEACHER_EPOCHS))
    teacher = client.teachers.upload(NAME, *teacher_of(short, few, 0, None))
    splits = Splits(*(_samples(shown(part, task.scaling)) for part in few))
    targets = client.target_sets.upload(NAME, teacher.id, splits)
    job = client.jobs.train(targets.id, TrainingSettings(epochs=STUDENT_EPOCHS))
    return str(client.jobs.wait(job.id, timeout=TRAINED_WITHIN).student_id)


def _samples(given: Learned) -> Samples:
    labels = None if given.labels is None else given.labels.numpy()
    return Samples(given.inputs.numpy(), labels)


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """Yield the folder that is kept, or one that is deleted in the end."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.job_seconds")
    parser.add_argument("--folder", type=Path, help="of the service; it is kept")
    parser.add_argument("--chips", type=int, default=CHIPS, help=f"from seed {FIRST_SEED} on")
    parser.add_argument(
        "--cases", type=lambda text: text.split(","), default=tuple(CASES), help=",".join(CASES)
    )
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    parser.add_argument("--check", action="store_true", help="exit code 1 where a figure misses")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingDataError as error:
        sys.exit(str(error))
