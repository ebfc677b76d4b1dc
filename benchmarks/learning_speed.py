"""Cost of a learning step, in plain forward passes of the same layers.

VGG-11 on 3 x 32 x 32 pixels, 16 time steps, batch 16, two threads. Every layer fires as one of a
trained student does, 0.07 to 0.14 times a step; if not, nothing is measured. A step is a pass of
the teacher, the student's, the weight gradients, and Adam. Its floor is what cannot be left out, in
plain forward passes of the same convolutions and matrices at that batch: T of the student, one
weight gradient a step that learns, one of the teacher. Step and forward pass are timed in turn, in
one process, so that whatever else the machine does meets both; the table shows the median. Memory
is measured in a process of its own, above what stood there with weights and data loaded. `plain
autograd` is the rule as its equations read, for comparison and for the check that gradients agree.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks import plain_ltl
from benchmarks.learning_setup import World, check_lively, make_world, rates_of, targets_of
from benchmarks.machine import about
from benchmarks.memory import peak_memory
from ltl_core.network.layers import Conv2d
from ltl_core.rules.select import select_rule
from ltl_core.settings import NeuronSettings, RuleName
from ltl_core.student.forward import layerwise_forward_student
from ltl_core.student.layerwise import Supervision, layerwise_forward
from ltl_core.teaching.readout import LabelCrossEntropy
from ltl_core.teaching.teacher import collect
from ltl_core.training.latent_weights import LatentWeights, LearningRates
from ltl_core.training.start import start_student

RULES = (RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE)
WINDOWS = (4, 16, 64)  # steps, for the table of memory
LIMIT, CODES_LIMIT, MEMORY_LIMIT, EQUAL = 1.4, 0.8, 700e6, 1e-6
GROWTH = 1.25  # of the online rule's memory from 16 to 64 steps: what the allocator scatters
CLOSED, PLAIN = "closed form, float32", "plain autograd"
CODES, BYTES = "in codes, float32 deltas", "in codes, deltas in bytes"
DELTA_BITS = {CODES: None, BYTES: 8}
LIMITS = {CLOSED: LIMIT, CODES: CODES_LIMIT, BYTES: CODES_LIMIT}
ROUNDS, QUICK_ROUNDS = 7, 2


class Speed(NamedTuple):
    """Time of one rule's step."""

    rule: str
    way: str
    forward_s: float  # one plain forward pass
    step_s: float
    passes: float  # the step in forward passes
    floor_passes: int
    ratio: float


class Memory(NamedTuple):
    """Peak memory of one rule over one window."""

    rule: str
    way: str
    steps: int
    peak_bytes: int


def floor_passes(rule: RuleName, neuron: NeuronSettings) -> int:
    """Passes that no rule avoids: T forward, a gradient for each learning step, the teacher."""
    learning = neuron.steps - select_rule(rule).first_step(neuron)
    return neuron.steps + learning + 1


def forward_pass(world: World) -> Callable[[], None]:
    """Compute the convolutions and matrices alone, each on an input of its shape."""
    layers = [
        (stage.layer, torch.rand(len(world.labels), *stage.input_shape), world.weights)
        for stage in world.network.stages
    ]

    def go() -> None:
        for layer, rows, weights in layers:
            weight = weights[f"{layer.name}.weight"]
            if isinstance(layer, Conv2d):
                F.conv2d(rows, weight, None, layer.stride, layer.padding)
            else:
                F.linear(rows.flatten(1), weight)

    return go


def ours(world: World, rule: RuleName) -> dict[str, Tensor]:
    """Compute the gradients of a step, teacher included."""
    supervision = Supervision(select_rule(rule), targets_of(world), LabelCrossEntropy(world.labels))
    result = layerwise_forward(
        world.network, world.weights, world.batch.inputs, world.neuron, supervision
    )
    return {
        f"{name}.{field}": tensor
        for name, gradient in result.gradients.items()
        for field, tensor in gradient._asdict().items()
    }


def plain(world: World, rule: RuleName) -> dict[str, Tensor]:
    """Compute the same gradients by autograd."""
    found = (world.batch.inputs, world.labels, targets_of(world))
    offline = rule is RuleName.LTL_OFFLINE
    return plain_ltl.gradients(world.network, world.weights, found, world.neuron, offline=offline)


WAYS = {CLOSED: ours, PLAIN: plain}


def step(world: World, rule: RuleName, way: str) -> Callable[[], None]:
    """Compute gradients and make one step of Adam over all weights."""
    if way in DELTA_BITS:
        return step_in_codes(world, rule, DELTA_BITS[way])
    adam = torch.optim.Adam(list(world.weights.values()), lr=1e-4, fused=True)

    def go() -> None:
        for name, gradient in WAYS[way](world, rule).items():
            world.weights[name].grad = gradient.contiguous()
        adam.step()
        adam.zero_grad()

    return go


def step_in_codes(world: World, rule: RuleName, delta_bits: int | None) -> Callable[[], None]:
    """Make a step as a `train` job does: forward in integer codes, Adam on latent weights."""
    targets = collect(world.network, world.teacher, world.batch, scales=world.scales)
    student = start_student(world.network, world.teacher, targets, world.neuron)
    latent = LatentWeights(student, LearningRates(1e-4, 1e-4, 0.0))
    loss = LabelCrossEntropy(world.labels)

    def go() -> None:
        supervision = Supervision(select_rule(rule), targets_of(world), loss, delta_bits)
        result = layerwise_forward_student(
            student.with_codes(latent.update_codes()), world.batch.inputs, supervision
        )
        for name, gradient in result.gradients.items():
            latent.set_gradient(name, gradient)
        latent.step()

    return go


def speed(world: World, rule: RuleName, way: str, rounds: int) -> Speed:
    """Time a step and a forward pass in turn."""
    forward, learn = forward_pass(world), step(world, rule, way)
    floor = floor_passes(rule, world.neuron)
    forward(), learn()
    pairs = []
    for _ in range(rounds):
        passes = [_seconds(forward) for _ in range(4)]
        pairs.append((statistics.mean(passes), _seconds(learn)))
    counted = statistics.median(learn_s / forward_s for forward_s, learn_s in pairs)
    forward_s, step_s = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Speed(rule, way, forward_s, step_s, counted, floor, counted / floor)


def memory(rule: RuleName, way: str, steps: int, batch: int, width: float) -> Memory:
    """Peak memory of the first step, in bytes."""
    world = make_world(batch, steps, width)
    learn = step(world, rule, way)
    with peak_memory() as peak:
        learn()
    return Memory(rule, way, steps, peak.byte_count)


def equality(width: float = 1.0) -> dict[str, float]:
    """Largest relative error of any gradient against autograd, in double precision."""
    world = make_world(2, 16, width, torch.float64)
    errors: dict[str, float] = {}
    for rule in RULES:
        found, wanted = ours(world, rule), plain(world, rule)
        errors[rule] = max(float((found[n] - w).norm() / w.norm()) for n, w in wanted.items())
    return errors


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and write; exit code 1 where `--check` finds a limit missed."""
    options = _options(arguments)
    if options.memory_of:
        rule, way, steps = options.memory_of
        found = memory(RuleName(rule), way, int(steps), options.batch, options.width)
        sys.stdout.write(json.dumps(found._asdict()))
        return 0
    torch.set_num_threads(options.threads)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    world = make_world(options.batch, options.steps, options.width)
    check_lively(world)
    speeds = [speed(world, rule, way, rounds) for rule in RULES for way in LIMITS]
    speeds += [speed(world, rule, PLAIN, 1) for rule in RULES if not options.quick]
    memories = [_apart(rule, way, t, options) for rule in RULES for way in LIMITS for t in WINDOWS]
    if not options.quick:
        memories += [_apart(rule, PLAIN, options.steps, options) for rule in RULES]
    equal = equality(options.width)
    _show(speeds, memories, equal)
    result = about("benchmarks.learning_speed") | {
        "speed": [row._asdict() for row in speeds],
        "memory": [row._asdict() for row in memories],
        "relative_error": equal,
        "rates": rates_of(world),
    }
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n")
    missed = list(_missed(speeds, memories, equal)) if options.check else []
    for sentence in missed:
        Console(stderr=True).print(sentence)
    return 1 if missed else 0


def _missed(speeds: list[Speed], memories: list[Memory], equal: dict[str, float]) -> list[str]:
    missed = [
        f"{row.rule}, {row.way}: {row.ratio:.2f} of the floor, more than {LIMITS[row.way]}"
        for row in speeds
        if row.way in LIMITS and row.ratio > LIMITS[row.way]
    ]
    held = [row for row in memories if row.way in LIMITS]
    missed += [
        f"{row.rule}, {row.way}, {row.steps} steps: {row.peak_bytes / 1e6:.0f} MB"
        for row in held
        if row.steps <= 16 and row.peak_bytes > MEMORY_LIMIT
    ]
    online = [row for row in held if row.rule == RuleName.LTL_ONLINE]
    for way in LIMITS:
        *_, shorter, longest = (row.peak_bytes for row in online if row.way == way)
        if longest > GROWTH * shorter:
            missed.append(f"{RuleName.LTL_ONLINE}, {way}: memory grows with time")
    missed += [f"{rule}: relative error {e:.1e}" for rule, e in equal.items() if e > EQUAL]
    return missed


def _apart(rule: RuleName, way: str, steps: int, options: argparse.Namespace) -> Memory:
    command = [sys.executable, "-m", "benchmarks.learning_speed"]
    command += ["--memory-of", rule, way, str(steps)]
    command += ["--batch", str(options.batch), "--width", str(options.width)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return Memory(**json.loads(done.stdout))


def _seconds(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _show(speeds: list[Speed], memories: list[Memory], equal: dict[str, float]) -> None:
    console = Console()
    table = Table("rule", "way", "forward pass", "step", "passes", "floor", "ratio")
    for row in speeds:
        table.add_row(
            row.rule,
            row.way,
            f"{row.forward_s:.3f} s",
            f"{row.step_s:.2f} s",
            f"{row.passes:.1f}",
            str(row.floor_passes),
            f"{row.ratio:.2f}",
        )
    console.print(table)
    table = Table("rule", "way", "steps", "peak memory")
    for held in memories:
        table.add_row(held.rule, held.way, str(held.steps), f"{held.peak_bytes / 1e6:.0f} MB")
    console.print(table)
    for rule, error in equal.items():
        console.print(f"{rule}: gradients equal autograd's to {error:.0e} (relative, float64)")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write every figure to this file")
    parser.add_argument("--quick", action="store_true", help="few rounds, without plain autograd")
    parser.add_argument("--check", action="store_true", help="exit 1 where a limit is not held")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--width", type=float, default=1.0, help="of every layer, 1 is VGG-11")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--memory-of", nargs=3, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
