"""Everything about a chip that changes, and how it is saved as named tensors."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from chip_sim.clock import Clock
from chip_sim.errors import ForeignStateError
from chip_sim.layer import PlacedLayer, layer_tensors, with_tensors
from chip_sim.layout import fresh_layers
from chip_sim.placement import placement_from_json, placement_to_json
from chip_sim.spec import ChipSpec, RegisterSpec
from chip_sim.state_tensors import tensor_text, text_tensor, under
from chip_sim.tuning import TuningMemory
from chip_sim.wear import Wear
from ltl_core.chip import Placement


class ChipIdentity(NamedTuple):
    """What makes a chip that chip: its id, its kind and its seed."""

    chip_id: str
    spec: ChipSpec
    seed: int


class ChipState(NamedTuple):
    """What placing, programming, tuning and time have made of a chip."""

    placement: Placement | None  # None before the first one
    layers: dict[str, PlacedLayer]
    tuning: TuningMemory
    wear: Wear
    clock: Clock
    rng_state: Tensor  # of the stream of noise

    def tensors(self, chip: ChipIdentity) -> dict[str, Tensor]:
        """Return the state as named tensors, copies, with the spec and the seed of the chip."""
        tensors = {
            f"layer/{name}/{key}": tensor
            for name, layer in self.layers.items()
            for key, tensor in layer_tensors(layer).items()
        }
        placed = "" if self.placement is None else placement_to_json(self.placement)
        tensors |= self.wear.tensors() | self.tuning.tensors() | self.clock.tensors()
        tensors["spec"] = text_tensor(chip.spec.model_dump_json())
        tensors["seed"] = torch.tensor([chip.seed])
        tensors["placement"] = text_tensor(placed)
        tensors["rng"] = self.rng_state
        return {name: tensor.clone() for name, tensor in tensors.items()}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, Tensor], chip: ChipIdentity) -> "ChipState":
        """Read a state of `tensors` for this chip.

        Raises ForeignStateError if it belongs to a chip of another spec or seed.
        """
        if not _goes_on(ChipSpec.model_validate_json(tensor_text(tensors["spec"])), chip.spec):
            raise ForeignStateError(chip.chip_id, "spec")
        if int(tensors["seed"]) != chip.seed:
            raise ForeignStateError(chip.chip_id, "seed")
        tuning = TuningMemory.from_tensors(chip.spec.tile_columns, tensors)
        text = tensor_text(tensors["placement"])
        placement = placement_from_json(text) if text else None
        layers = fresh_layers(placement, chip.spec, chip.seed, tuning) if placement else {}
        return cls(
            placement,
            {
                name: with_tensors(layer, under(f"layer/{name}/", tensors))
                for name, layer in layers.items()
            },
            tuning,
            Wear.from_tensors(tensors),
            Clock.from_tensors(tensors, chip.spec.temperature),
            tensors["rng"].clone(),
        )


def _goes_on(saved: ChipSpec, spec: ChipSpec) -> bool:
    """Tell whether a chip of this spec can go on from a state of the saved one.

    The register of ranges may have more bits than it had: all of its codes mean what they meant.
    """
    was, now = saved.tuning.adc_range, spec.tuning.adc_range
    widened = RegisterSpec(bits=max(was.bits, now.bits), lsb=was.lsb)
    tuning = saved.tuning.model_copy(update={"adc_range": widened})
    return saved.model_copy(update={"tuning": tuning}) == spec
