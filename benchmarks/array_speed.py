"""What a simulated chip costs: a multiply in torch's plain products, a run in ideal students.

Two layers: 1024 x 1024 on tiles of 512 with a batch of 128, and the 256-channel 3 x 3 convolution
of VGG-11 at 16 x 16 on tiles of 256 rows. The first is played analog values through 8-bit DACs, the
second spikes, as every layer is after the chip's first; both are read by 8-bit ADCs.
Ours and torch's own are timed in turn, in one process, and the fastest of each is taken, so that
whatever else the machine does meets both. Where aihwkit is installed (the `benchmark` extra), its
torch tile, cut into tiles of the same size, is timed in the same turns.

Whole runs of two networks (`benchmarks/array_runs.py`) are timed beside the ideal student, which
computes the same layers and steps in software: the processor time of a sample in one thread, and
its time on two.
`--products` or `--runs` times one part alone.
"""

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from benchmarks.array_runs import IDEAL, RunCase, run_cases, run_ways
from chip_sim.array import TileArray, column_norms, read_columns
from chip_sim.converter import AdcBank, converter_codes, level_max, transfer_of
from chip_sim.pair import RESOLUTION, RESOLUTION_ANALOG
from chip_sim.products import RowInput
from chip_sim.spec import ChipSpec
from chip_sim.tiling import tile_stage
from ltl_core.network.layers import Conv2d, Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage

BITS = 8
CODE_MAX = 63
READ_NOISE = 0.005 * 2**0.5 * CODE_MAX  # code units: two devices with 0.5 % of g_max each
TURNS, QUICK_TURNS = 40, 8  # of the convolution; the linear layer, being short, gets more
RUN_TURNS, QUICK_RUN_TURNS = 10, 3  # of whole runs
SHORT = 8
PLAIN = "torch, plain"
QUIET, NOISY = "ours, without read noise", "ours, with read noise"
THEIRS = "aihwkit torch tile, without"


class Case(NamedTuple):
    """One layer, and how many plain products it may cost."""

    name: str
    stage: Stage
    tile: int
    batch: int
    analog: bool
    limits: Mapping[str, float]


class Timing(NamedTuple):
    """One way to compute the product, with its time."""

    case: str
    threads: int
    way: str
    seconds: float
    ratio: float  # to the first way, in the same run: the plain product, or the ideal student
    limit: float | None

    @property
    def misses(self) -> bool:
        return self.limit is not None and self.ratio > self.limit


def main(arguments: Sequence[str]) -> int:
    """Measure and print; exit code 1 where `--check` finds a way that costs more than it may."""
    options = _options(arguments)
    turns = QUICK_TURNS if options.quick else TURNS
    timings: list[Timing] = []
    if not options.runs:
        timings += [
            t for threads in (1, 2) for case in cases() for t in measure(case, threads, turns)
        ]
    if not options.products:
        turns = QUICK_RUN_TURNS if options.quick else RUN_TURNS
        timings += [timing for case in run_cases() for timing in measure_runs(case, turns)]
    console = Console(soft_wrap=True, highlight=False)
    console.print(_table(timings))
    if options.json:
        Path(options.json).write_text(json.dumps([t._asdict() for t in timings], indent=2) + "\n")
    late = [timing for timing in timings if timing.misses]
    for timing in late:
        console.print(
            f"Too slow: {timing.case}, {timing.threads} thread(s), {timing.way}: "
            f"{timing.ratio:.2f} times the first way, at most {timing.limit}."
        )
    return 1 if options.check and late else 0


def cases() -> tuple[Case, Case]:
    """Make the two layers that are timed."""
    linear = Linear(name="linear", in_features=1024, out_features=1024)
    conv = Conv2d(name="conv", in_channels=256, out_channels=256, kernel=(3, 3), padding=(1, 1))
    readout = Linear(name="readout", in_features=256 * 16 * 16, out_features=2)
    return (
        Case(
            "linear 1024 x 1024, tiles of 512, batch 128, analog",
            NetworkSpec(input_shape=(1024,), layers=(linear,)).stages[0],
            tile=512,
            batch=128,
            analog=True,
            limits={QUIET: 1.5, NOISY: 3.0},
        ),
        Case(
            "conv 256 x 3 x 3 at 16 x 16, tiles of 256, batch 16, spikes",
            NetworkSpec(input_shape=(256, 16, 16), layers=(conv, readout)).stages[0],
            tile=256,
            batch=16,
            analog=False,
            limits={QUIET: 2.0, NOISY: 4.0},
        ),
    )


def measure(case: Case, threads: int, turns: int) -> list[Timing]:
    """Time every way to compute a product; `threads` is the number of torch's."""
    torch.set_num_threads(threads)
    turns *= SHORT if isinstance(case.stage.layer, Linear) else 1
    best = _fastest(_ways(case), turns)
    return [
        Timing(case.name, threads, name, took, took / best[PLAIN], case.limits.get(name))
        for name, took in best.items()
    ]


@torch.no_grad()
def measure_runs(case: RunCase, turns: int) -> list[Timing]:
    """Time the ideal student and a chip for one sample, on one thread and on two.

    One thread is timed by its processor time, so that other programs hardly matter; two by the
    clock, so that they need two cores for themselves.
    """
    found: list[Timing] = []
    for batch, ways in run_ways(case).items():
        name = f"{case.name}, steps of {batch}"
        for threads, clock in ((1, time.process_time), (2, time.perf_counter)):
            torch.set_num_threads(threads)
            best = _fastest(ways, turns, clock)
            found += [
                Timing(name, threads, way, took / batch, took / best[IDEAL], None)
                for way, took in best.items()
            ]
    return found


def _fastest(
    ways: Mapping[str, Callable[[], object]],
    turns: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Time every way in turn, several rounds; return the shortest time of each, s."""
    best = dict.fromkeys(ways, float("inf"))
    for turn in range(turns + 1):
        for name, way in ways.items():
            began = clock()
            way()
            took = clock() - began
            best[name] = min(best[name], took) if turn else best[name]  # the first turn warms up
    return best


def _ways(case: Case) -> dict[str, Callable[[], object]]:
    rng = torch.Generator().manual_seed(1)
    stage = case.stage
    shape = (case.batch, *stage.input_shape)
    values = torch.randn(shape, generator=rng)
    if not case.analog:
        values = (values > 0).float()
    weight = torch.randn((stage.columns, stage.rows), generator=rng).clamp(-3, 3) * CODE_MAX / 3
    step = RESOLUTION_ANALOG if case.analog else RESOLUTION
    weight = (weight / step).round() * step
    ways: dict[str, Callable[[], object]] = {PLAIN: _plain(stage, values, weight)}
    ways[QUIET] = _ours(case, values, weight, read_noise=0.0)
    ways[NOISY] = _ours(case, values, weight, read_noise=READ_NOISE)
    if importlib.util.find_spec("aihwkit") is not None:
        ways[THEIRS] = _theirs(case, values, weight / CODE_MAX)
    return ways


def _plain(stage: Stage, values: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    if isinstance(stage.layer, Linear):
        return lambda: F.linear(values, weight)
    kernel, padding = weight.view(stage.layer.weight_shape), stage.layer.padding
    return lambda: F.conv2d(values, kernel, padding=padding)


def _ours(
    case: Case, values: torch.Tensor, weight: torch.Tensor, *, read_noise: float
) -> Callable[[], object]:
    """Compute what a layer of a chip does: DAC, product with read noise, ADC, sum."""
    rng = torch.Generator().manual_seed(2)
    spec = ChipSpec(tile_rows=case.tile, tile_columns=case.tile)
    blocks = tile_stage(case.stage, spec, 0).row_blocks
    circuits = (len(blocks), case.stage.columns)
    adcs = AdcBank(
        1 + 0.03 * torch.randn(circuits, generator=rng),
        2 * torch.randn(circuits, generator=rng),
        torch.zeros(circuits),
    )
    unit = level_max(BITS) / 4 if case.analog else 1.0
    spread = float(weight.std()) * case.tile**0.5 * unit
    norms = column_norms(weight, blocks) if case.analog else ()
    transfer = transfer_of(adcs, [4 * spread] * len(blocks), BITS)
    array = TileArray(weight, blocks, transfer, BITS, read_noise, norms)

    def multiply() -> object:
        rows = converter_codes(values, 4.0, BITS) if case.analog else values
        return read_columns(array, RowInput(rows, 1, case.analog), case.stage, rng)

    return multiply


def _theirs(case: Case, values: torch.Tensor, weight: torch.Tensor) -> Callable[[], object]:
    from benchmarks.aihwkit_tile import torch_tile

    layer = torch_tile(case.stage, weight, case.tile)

    def multiply() -> object:
        with torch.no_grad():
            return layer(values)

    return multiply


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.array_speed", description=__doc__)
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_TURNS} turns only")
    parser.add_argument("--products", action="store_true", help="no whole runs")
    parser.add_argument("--runs", action="store_true", help="whole runs alone")
    parser.add_argument("--check", action="store_true", help="exit with 1 above the limits")
    return parser.parse_args(arguments)


def _table(timings: Sequence[Timing]) -> Table:
    table = Table(title=f"torch {torch.__version__}; the fastest of each, taken in turns")
    for heading in ("layer", "threads", "way"):
        table.add_column(heading)
    for heading in ("ms", "times the first", "at most"):
        table.add_column(heading, justify="right")
    for t in timings:
        limit = "" if t.limit is None else f"{t.limit:.1f}"
        row = (t.case, str(t.threads), t.way, f"{1000 * t.seconds:.2f}", f"{t.ratio:.2f}", limit)
        table.add_row(*row, style="red" if t.misses else None)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
