"""Programming a layer: which devices are pulsed, where they end, and how many pulses it takes."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from chip_sim import pair
from chip_sim.layer import Cells, PlacedLayer
from chip_sim.physics import Physics
from chip_sim.spec import ChipSpec
from chip_sim.writer import Fault, Written, write


class Rewrite(NamedTuple):
    """One round of programming: the cells afterwards, and how it went."""

    cells: Cells
    pulses: Int[Tensor, "2 column row"]
    failed: Bool[Tensor, "column row"]  # a device of the pair is not within tolerance


def changed_devices(
    layer: PlacedLayer, codes: Int[Tensor, "column row"], spec: ChipSpec
) -> Bool[Tensor, "2 column row"]:
    """Return the devices whose target changes: only one of a pair whose weight keeps its sign."""
    before = pair.g_target(layer.cells.codes, spec.device, spec.code_max)
    return pair.g_target(codes, spec.device, spec.code_max) != before


def rewrite(
    layer: PlacedLayer,
    codes: Int[Tensor, "column row"],
    chosen: Bool[Tensor, "2 column row"],
    physics: Physics,
) -> Rewrite:
    """Write the chosen devices towards these codes; every other device goes on ageing.

    The time of the write is not set yet: `stamp` sets it when the clock has advanced.
    """
    spec, model, _, rng = physics
    target = pair.g_target(codes, spec.device, spec.code_max)[chosen]
    fault = Fault(layer.identity.fault.stuck[chosen], layer.identity.fault.g[chosen])
    written = write(target, fault, model, spec.write, rng)
    draw = model.draw_drift(target, written.g, rng)
    old = layer.cells
    cells = Cells(
        codes,
        _put(old.g, chosen, written.g),
        _put(old.nu, chosen, draw.nu),
        _put(old.wander, chosen, draw.wander),
        old.written_at,
    )
    return Rewrite(cells, *_spread(chosen, written))


def stamp(cells: Cells, chosen: Bool[Tensor, "2 column row"], now: float) -> Cells:
    """Return the cells with the chosen devices written at `now`, s."""
    return cells._replace(written_at=cells.written_at.masked_fill(chosen, now))


def _put(
    old: Float[Tensor, "*shape"], chosen: Bool[Tensor, "*shape"], new: Float[Tensor, " device"]
) -> Float[Tensor, "*shape"]:
    return old.masked_scatter(chosen, new)


def _spread(
    chosen: Bool[Tensor, "2 column row"], written: Written
) -> tuple[Int[Tensor, "2 column row"], Bool[Tensor, "column row"]]:
    pulses = torch.zeros(chosen.shape, dtype=torch.int32).masked_scatter(chosen, written.pulses)
    failed = torch.zeros_like(chosen).masked_scatter(chosen, written.failed)
    return pulses, failed.any(0)
