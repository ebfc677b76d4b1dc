"""The tuning registers of a calibrated chip: read, set, and kept in a checkpoint."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.chip import ChipBackend, Tuning
from ltl_core.network.spec import NetworkSpec
from ltl_core.optional_verbs import TunableChip

_PREFIX = "registers:"
LayerRegisters = Mapping[str, Tuning]  # by layer; empty of a chip without registers


class Registers(NamedTuple):
    """The registers under all layers, as a calibration found them and as it left them."""

    initial: LayerRegisters = MappingProxyType({})
    current: LayerRegisters = MappingProxyType({})

    @property
    def are_changed(self) -> bool:
        """Whether any register was left with another code than it was found with."""
        named, found = self.tensors(), f"{_PREFIX}initial:"
        return any(
            not torch.equal(codes, named[key.replace(found, f"{_PREFIX}current:")])
            for key, codes in named.items()
            if key.startswith(found)
        )

    def tensors(self) -> dict[str, Tensor]:
        """Return copies as named tensors: `registers:KIND:LAYER:REGISTER`."""
        return {
            f"{_PREFIX}{kind}:{layer}:{name}": torch.as_tensor(codes).clone()
            for kind, layers in self._asdict().items()
            for layer, tuning in layers.items()
            for name, codes in tuning._asdict().items()
        }

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor]) -> "Registers":
        """Read what `tensors` returned; others are ignored, and there may be none."""
        found: dict[str, dict[str, dict[str, Tensor]]] = {kind: {} for kind in cls._fields}
        for key, codes in tensors.items():
            if key.startswith(_PREFIX):
                kind, layer, name = key.removeprefix(_PREFIX).split(":")
                found[kind].setdefault(layer, {})[name] = codes
        return cls(*({n: _tuning(codes) for n, codes in found[k].items()} for k in cls._fields))


def read_registers(chip: ChipBackend, network: NetworkSpec) -> LayerRegisters:
    """Read the registers of the placed network. Raises what the chip raises."""
    if chip.info.tuning is None or not isinstance(chip, TunableChip):
        return {}
    return {stage.name: chip.tuning(stage.name) for stage in network.stages}


def set_registers(chip: ChipBackend, registers: LayerRegisters) -> None:
    """Set registers that `read_registers` found. Raises what the chip raises."""
    if isinstance(chip, TunableChip):
        for layer, tuning in registers.items():
            chip.tune(layer, tuning)


def without_registers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the other tensors of a block."""
    return {key: tensor for key, tensor in tensors.items() if not key.startswith(_PREFIX)}


def _tuning(codes: Mapping[str, Tensor]) -> Tuning:
    several = {name: tensor for name, tensor in codes.items() if name != "readout_gain"}
    return Tuning(**several, readout_gain=int(codes.get("readout_gain", 0)))
