"""What does a network cost that is placed in passes, and how much of it do large batches save?

    python -m benchmarks.partitioned [--seeds N] [--json FILE]

The golden student of the demonstration is calibrated on chips of the preset `harsh`, with tiles of
32 columns and 64 rows: once with tiles for the whole network, and with nine tiles, which hold it in
four passes. Every run of the chip then writes all passes again.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.interop_chips import SETTINGS, Demonstration, demonstration
from benchmarks.machine import about
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.calibration.loop import Calibration
from ltl_core.chip import ChipBackend
from ltl_core.partitioned.chip import PartitionedChip
from ltl_core.partitioned.plan import plan_passes

PRESET, COLUMNS, ROWS = "harsh", 32, 64
WHOLE, FEW = 64, 9  # tiles
BATCHES = (4, 16, 64)


class PartitionedRow(NamedTuple):
    """What became of one chip. Accuracies in %, on samples that nothing was trained on."""

    passes: int
    batch: int
    seed: int
    golden: float
    before: float
    after: float
    samples: int
    writes: float  # of a cell, mean
    pulses: int
    seconds: float


def main(arguments: Sequence[str] | None = None) -> int:
    """Calibrate all chips, and print a row for each and their means."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.partitioned")
    parser.add_argument("--seeds", type=int, default=3, help="from 1 on")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(arguments)
    heading, console = about("benchmarks.partitioned"), Console(width=120)
    task, rows = demonstration(), []
    for row in partitioned_rows(task, range(1, options.seeds + 1)):
        console.print(" ".join(map(_cell, row)), highlight=False)
        rows.append(row)
    console.print(_table(rows))
    if options.json is not None:
        content = heading | {"partitioned": [row._asdict() for row in rows]}
        options.json.write_text(json.dumps(content, indent=2) + "\n")
    return 0


def partitioned_rows(task: Demonstration, seeds: Sequence[int]) -> Iterator[PartitionedRow]:
    """Yield a row for each chip: whole with the usual batch, and in passes with each batch."""
    for seed in seeds:
        for tiles, batches in ((WHOLE, BATCHES[:1]), (FEW, BATCHES)):
            for batch in batches:
                yield partitioned_row(task, tiles, batch, seed)


def partitioned_row(task: Demonstration, tiles: int, batch: int, seed: int) -> PartitionedRow:
    """Calibrate one chip with so many tiles."""
    sizes = {"tile_columns": COLUMNS, "tile_rows": ROWS, "tiles": tiles}
    made = make_chip(f"{PRESET}-{seed}", preset(PRESET).model_copy(update=sizes), seed)
    passes = len(plan_passes(task.student.network, made.info))
    chip: ChipBackend = PartitionedChip(made) if passes > 1 else made
    began = time.perf_counter()
    settings = SETTINGS.model_copy(update={"batch": batch})
    calibration = Calibration(chip, task.student, task.targets, task.test, settings)
    for _ in calibration.steps():
        pass
    result = calibration.result
    return PartitionedRow(
        passes=passes,
        batch=batch,
        seed=seed,
        golden=task.golden,
        before=100 * result.before.test.accuracy,
        after=100 * result.after.test.accuracy,
        samples=result.spent.samples,
        writes=result.spent.cell_writes_per_cell,
        pulses=result.spent.pulses,
        seconds=time.perf_counter() - began,
    )


def _table(rows: Sequence[PartitionedRow]) -> Table:
    """Build the table: the mean of the chips of each kind."""
    table = Table(title="mean of the chips", box=box.SIMPLE)
    for name in ("passes", "batch", "chips", "before", "after", "writes a cell", "pulses", "s"):
        table.add_column(name)
    for kind in dict.fromkeys((row.passes, row.batch) for row in rows):
        group = [row for row in rows if (row.passes, row.batch) == kind]
        fields = ("before", "after", "writes", "pulses", "seconds")
        found = [mean(getattr(row, field) for row in group) for field in fields]
        table.add_row(*map(str, kind), str(len(group)), *(f"{value:,.1f}" for value in found))
    return table


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
