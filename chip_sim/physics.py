"""What the answers of a chip depend on besides its layers."""

from typing import NamedTuple

import torch

from chip_sim.clock import Clock
from chip_sim.devices.device import DeviceModel
from chip_sim.second_thread import SecondThread
from chip_sim.spec import ChipSpec


class Physics(NamedTuple):
    """The kind of chip, its cells, its clock and its noise."""

    spec: ChipSpec
    model: DeviceModel
    clock: Clock
    rng: torch.Generator  # noise that is drawn anew at every write, read and step
    second: SecondThread  # for what may be done ahead
