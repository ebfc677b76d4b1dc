"""Does a chip begin better with the codes of a similar chip, on a network of Fashion-MNIST?

    python -m benchmarks.calibration_similar [--presets pcm,harsh] [--donors N] [--chips N]
                                             [--first SEED] [--json FILE] [--golden FILE]

Some chips of a preset, the donors, are calibrated as in `benchmarks.calibration`, experiment
"hundred". Each further chip is written with the golden student's codes and gives its fingerprint;
the donor whose fingerprint under these codes is nearest is the most similar chip. Then its codes
are written too, and both are judged on 128 samples without labels, 60 s after the write.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from benchmarks.calibration import (
    EXPERIMENTS,
    SETTLE_S,
    Task,
    calibrated,
    chip_of,
    listed,
    make_task,
)
from benchmarks.machine import about
from benchmarks.missing_data import MissingDataError
from benchmarks.row_file import keep_rows, read_rows
from ltl_core.calibration.chip_session import ChipSession
from ltl_core.calibration.drift import MeanFingerprint, drift_between, measure_fingerprint
from ltl_core.calibration.judge import Judge, Judgement, is_better
from ltl_core.chip import LayerCodes

PRESETS = ("pcm", "hermes", "reram", "harsh")
FIRST_SEED, DONORS, CHIPS = 311, 3, 5
SAMPLES = 128
TEST = 100  # images; what is compared needs no labels


class Donor(NamedTuple):
    """A calibrated chip, and what it answered under the golden student's codes."""

    seed: int
    codes: Mapping[str, LayerCodes]
    fingerprint: MeanFingerprint


class SimilarRow(NamedTuple):
    """One chip with the golden student's codes, and with those of the most similar donor."""

    preset: str
    seed: int
    donor: int  # seed
    distance: float  # drift score between the fingerprints of both
    golden_loss: float  # nats
    golden_points: float  # behind the golden student
    similar_loss: float
    similar_points: float
    is_better: bool  # the donor's codes, by one standard error
    writes: float  # of a cell, mean, that the donor's codes cost


class Begun(NamedTuple):
    """A chip with the golden student's codes."""

    session: ChipSession
    judge: Judge
    found: Judgement
    fingerprint: MeanFingerprint


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _options(arguments)
    console, heading = Console(width=150, highlight=False), about("benchmarks.calibration_similar")
    task, rows = make_task(options.golden, TEST), read_rows(options.json, SimilarRow)
    for preset in options.presets:
        done = {(row.preset, row.seed) for row in rows}
        found = _measured(task, options, preset, done)
        for row in keep_rows(found, rows, options.json, heading):
            console.print(sentence_of(row))
    return 0


def donor(task: Task, preset: str, seed: int) -> Donor:
    """Calibrate one chip, after its fingerprint under the golden student's codes."""
    fingerprint = begin(task, preset, seed).fingerprint
    result = calibrated(task, EXPERIMENTS["hundred"].settings(preset), chip_of(preset, seed)).result
    return Donor(seed, result.codes, fingerprint)


def begin(task: Task, preset: str, seed: int) -> Begun:
    """Write a chip with the golden student's codes, and judge it."""
    chip = chip_of(preset, seed)
    session = ChipSession(chip, task.student)
    session.place()
    session.write(task.student.codes, free=True)
    session.settle(SETTLE_S)
    verification = task.pool.subset(torch.arange(SAMPLES))
    judge = Judge(verification, session.answers, are_values=False)
    return Begun(session, judge, judge.judge(), measure_fingerprint(chip))


def compared(task: Task, preset: str, seed: int, donors: Sequence[Donor]) -> SimilarRow:
    """Judge one chip with both codes."""
    begun = begin(task, preset, seed)
    distances = {
        one.seed: drift_between(begun.fingerprint, one.fingerprint).score for one in donors
    }
    nearest = min(donors, key=lambda one: distances[one.seed])
    begun.session.write(nearest.codes)
    begun.session.settle(SETTLE_S)
    found = begun.judge.judge()
    return SimilarRow(
        preset=preset,
        seed=seed,
        donor=nearest.seed,
        distance=distances[nearest.seed],
        golden_loss=begun.found.loss,
        golden_points=begun.found.points,
        similar_loss=found.loss,
        similar_points=found.points,
        is_better=is_better(found, begun.found),
        writes=begun.session.spent.cell_writes_per_cell,
    )


def sentence_of(row: SimilarRow) -> str:
    """Say in one line what became of one chip."""
    return (
        f"{row.preset} {row.seed}, codes of {row.donor} at a distance of {row.distance:.2f}: "
        f"{row.golden_loss:.3f} nats and {row.golden_points:.2f} points with the golden codes, "
        f"{row.similar_loss:.3f} and {row.similar_points:.2f} with the donor's, "
        f"{'better' if row.is_better else 'not better'}, {row.writes:.3f} writes a cell"
    )


def _measured(
    task: Task, options: argparse.Namespace, preset: str, done: set[tuple[str, int]]
) -> Iterator[SimilarRow]:
    """Compare the chips that are not in the file yet; donors are calibrated for them."""
    seeds = range(options.first + options.donors, options.first + options.donors + options.chips)
    missing = [seed for seed in seeds if (preset, seed) not in done]
    if not missing:
        return
    donors = [donor(task, preset, options.first + number) for number in range(options.donors)]
    for seed in missing:
        yield compared(task, preset, seed, donors)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        prog="python -m benchmarks.calibration_similar",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--presets", type=listed, default=PRESETS, help=",".join(PRESETS))
    parser.add_argument("--donors", type=int, default=DONORS, help="calibrated chips of a preset")
    parser.add_argument("--chips", type=int, default=CHIPS, help="of each preset, to compare")
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="seed of the first donor")
    parser.add_argument("--golden", type=Path, help="read the golden student from, or keep it in")
    parser.add_argument("--json", type=Path, help="write, or add to, this file")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MissingDataError as error:
        sys.exit(str(error))
