"""Programming a layer: which devices are pulsed, where they end, and how many pulses it takes."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Int
from torch import Tensor

from chip_sim import pair
from chip_sim.cells import Cells
from chip_sim.layer import PlacedLayer
from chip_sim.physics import Physics
from chip_sim.spec import ChipSpec
from chip_sim.writer import Fault, write


class Rewrite(NamedTuple):
    """How one round of programming went."""

    pulses: Int[Tensor, " some"]  # of each device that was chosen
    failed: Bool[Tensor, "column row"]  # a device of the pair is not within tolerance


def changed_cells(cells: Cells, codes: Int[Tensor, "column row"]) -> Int[Tensor, " some"]:
    """Return the numbers of the cells whose code changes, as they lie in [column, row]."""
    # NumPy is several times as fast as torch here.
    return torch.from_numpy(np.flatnonzero((codes != cells.codes).numpy()))


def changed_devices(
    cells: Cells, changed: Int[Tensor, " some"], codes: Int[Tensor, "column row"], spec: ChipSpec
) -> Int[Tensor, " device"]:
    """Return the devices whose target changes: only one of a pair whose weight keeps its sign.

    `changed` are the cells whose code changes.
    """
    pairs = torch.cat((changed, changed + codes.numel()))
    before, after = (
        pair.g_target_of(pairs, of, spec.device, spec.code_max) for of in (cells.codes, codes)
    )
    return pairs[before != after]


def rewrite(
    layer: PlacedLayer,
    codes: Int[Tensor, "column row"],
    devices: Int[Tensor, " some"],
    physics: Physics,
) -> Rewrite:
    """Write these devices towards the codes; every other device goes on ageing.

    The time of the write is not set yet: it ends when the clock has advanced.
    """
    spec, model, _, rng, _ = physics
    cells, fault = layer.cells, layer.identity.fault
    cells.codes.copy_(codes)
    target = pair.g_target_of(devices, codes, spec.device, spec.code_max)
    there = Fault(fault.stuck.view(-1)[devices], fault.g.view(-1)[devices])
    written = write(target, there, model, spec.write, rng)
    cells.put(devices, written.g, model.draw_drift(target, written.g, rng), model, spec)
    failed = torch.zeros(codes.shape, dtype=torch.bool)
    failed.view(-1)[devices[written.failed] % codes.numel()] = True
    return Rewrite(written.pulses, failed)
