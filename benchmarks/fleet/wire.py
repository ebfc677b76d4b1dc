"""Bytes of one run over HTTP, and at which line speeds compressing them would pay.

Compressing takes 1/v seconds a byte and leaves 1/r of the bytes, so it pays on a line slower than
v (1 - 1/r) bytes a second: then what is saved on the line is more than what compressing takes.
"""

import hashlib
import statistics
import time
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from rich.console import Console

from benchmarks.fleet.processes import Host
from benchmarks.job_latency import NETWORK
from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus
from service.bench.protocol.messages import recording_message
from service.bench.protocol.wire import Message, encode

BATCH, STEPS = 256, 16
MEGA = 1e6


class Extent(NamedTuple):
    """How much is measured."""

    rounds: int


FULL, QUICK = Extent(9), Extent(3)


def measure(console: Console, extent: Extent, host: Host) -> dict[str, Any]:
    """Measure sizes and speeds for one recording of spikes and flags; no process is started."""
    del host
    rounds = extent.rounds
    message = _spikes()
    body = encode(message).whole()
    plain = sum(4 * tensor.numel() for tensor in message.tensors.values())
    rate = _rate(message)
    found: dict[str, Any] = {
        "float32_bytes": plain,
        "packed_bytes": len(body),
        "spikes_a_step": rate,
        "pack_bytes_per_s": plain / 4 / _seconds(lambda: encode(message).whole(), rounds),
        "sha256_bytes_per_s": len(body) / _seconds(lambda: hashlib.sha256(body).digest(), rounds),
    }
    console.print(f"Spikes and flags of {BATCH} samples, {100 * rate:.0f} % of the steps spike")
    console.print(f"  as float32 {plain / MEGA:7.2f} MB, packed {len(body) / MEGA:7.2f} MB")
    for level in (1, 6):
        took = _seconds(lambda level=level: zlib.compress(body, level), rounds)  # type: ignore[misc]
        ratio = len(body) / len(zlib.compress(body, level))
        line = len(body) / took * (1 - 1 / ratio)
        found[f"zlib_{level}"] = {"ratio": ratio, "pays_below_bits_per_s": 8 * line}
        console.print(
            f"  zlib {level}: {ratio:.2f} times smaller at {len(body) / took / MEGA:.0f} MB/s; "
            f"pays on lines below {8 * line / MEGA:.0f} Mbit/s"
        )
    return found


def _spikes() -> Message:
    """Record spikes of a chip with random codes, in which every layer fires."""
    chip = make_chip("bench", preset("pcm"), 1)
    settings = LayerSettings(threshold=120.0, decay=0.9, window=30.0, full_scale=480.0)
    stages = NETWORK.stages
    chip.place(Placement(NETWORK, {stage.name: settings for stage in stages}, 1.0))
    rng = torch.Generator().manual_seed(1)
    for stage in stages:
        chip.program(stage.name, torch.randint(-40, 44, (stage.columns, stage.rows), generator=rng))
    inputs = torch.rand((BATCH, *NETWORK.input_shape), generator=rng)
    record = {stage.name: Observable.WINDOW for stage in stages if not stage.is_readout}
    return recording_message(chip.run(Stimulus(inputs, STEPS), record))


def _rate(message: Message) -> float:
    spikes = [t for name, t in message.tensors.items() if name.startswith("spikes/")]
    return sum(int(t.sum()) for t in spikes) / sum(t.numel() for t in spikes)


def _seconds(work: Callable[[], object], rounds: int) -> float:
    """Processor time of the call, in s: other work on the machine does not count."""
    took = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return statistics.median(took)
