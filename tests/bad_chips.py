"""Simulated chips with faults that no preset has, for tests of what a calibration does on them.

A fault lies in the chip's identity, where the simulator keeps what is wrong with its circuits.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip
from chip_sim.identity import LayerIdentity
from chip_sim.presets import preset
from chip_sim.writer import Fault
from ltl_core.chip import LayerCodes, LayerRecording, Observable, Placement, Stimulus, WriteReport

Break = Callable[[LayerIdentity], LayerIdentity]
_FAR = 1e4  # LSB: an offset that holds a converter at full scale


class BadChip(SimulatedChip):
    """A named chip one of whose layers breaks: when it is placed, or after some runs.

    It is a driver of its own, as a lab would have one: `make` is its factory.
    """

    def __init__(
        self, name: str, layer: str, fault: Break, *, seed: int = 1, good_runs: int = 0
    ) -> None:
        """Break `layer` by `fault` once `good_runs` have been made."""
        super().__init__(f"bad-{name}-{seed}", preset(name), seed)
        self._layer, self._fault, self._good_runs = layer, fault, good_runs
        self._is_broken = False
        self._failed: dict[str, Tensor] = {}
        self.failed_before = 0  # cells written again although they had failed

    def program(self, layer: str, codes: Tensor) -> WriteReport:
        """Write the cells whose code changed; see the port."""
        changed = codes != self.held(layer).weight
        failed = self._failed.get(layer, torch.zeros_like(changed))
        self.failed_before += int((changed & failed).sum())
        report = super().program(layer, codes)
        self._failed[layer] = failed | report.failed
        return report

    def place(self, placement: Placement) -> None:
        """Lay the layers on tiles; see the port."""
        super().place(placement)
        self._wear_out()

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        """Present the stimulus; see the port."""
        self._wear_out()
        self._good_runs -= 1
        yield from super().iter_layers(stimulus, record)

    def held(self, layer: str) -> LayerCodes:
        """Return the codes that the chip was told to hold."""
        placed = self._placed(layer)
        return LayerCodes(placed.cells.codes, placed.trims.bias, placed.trims.threshold)

    def _wear_out(self) -> None:
        if self._good_runs > 0 or self._is_broken:
            return
        placed = self._layers[self._layer]
        self._layers[self._layer] = placed._replace(identity=self._fault(placed.identity))
        self._is_broken = True


def every_second_neuron_dead(identity: LayerIdentity) -> LayerIdentity:
    """Half of the neurons never fire."""
    dead = identity.neuron.dead.clone()
    dead[::2] = True
    return identity._replace(neuron=identity.neuron._replace(dead=dead))


def stuck_tile(identity: LayerIdentity) -> LayerIdentity:
    """All devices of the layer are stuck, each at one of its ends: nothing can be written."""
    lot = torch.rand(identity.gain.shape, generator=torch.Generator().manual_seed(0))
    g_max = preset("pcm").device.g_max
    fault = Fault(torch.ones_like(identity.fault.stuck), g_max * (lot < 0.5))
    return identity._replace(gain=torch.zeros_like(identity.gain), fault=fault)


def stuck_devices(fraction: float) -> Break:
    """Some of the devices are stuck at no conductance."""

    def broken(identity: LayerIdentity) -> LayerIdentity:
        lot = torch.rand(identity.gain.shape, generator=torch.Generator().manual_seed(0))
        stuck = identity.fault.stuck | (lot < fraction)
        gain = identity.gain.masked_fill(stuck, 0.0)
        return identity._replace(gain=gain, fault=Fault(stuck, identity.fault.g))

    return broken


def converters_at_full_scale(*columns: int) -> Break:
    """The converters of these columns always answer their largest code."""

    def broken(identity: LayerIdentity) -> LayerIdentity:
        offset = identity.adcs.offset_lsb.clone()
        offset[:, list(columns)] = _FAR
        return identity._replace(adcs=identity.adcs._replace(offset_lsb=offset))

    return broken


def make(chip_id: str, settings: Mapping[str, Any]) -> BadChip:
    """Make a chip from the settings of its row: the layer whose every second neuron is dead."""
    del chip_id
    return BadChip(settings["preset"], settings["layer"], every_second_neuron_dead)
