"""The state of a chip as named tensors: the service keeps it between jobs."""

import json
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from tandemcal.backend import LayerSettings, Placement
from tandemcal.network import NetworkSpec


class ChipState(NamedTuple):
    """What placing, programming and time have made of a chip."""

    placement: Placement | None  # None before the first one
    layers: Mapping[str, Mapping[str, Tensor]]  # tensors of each layer, by name
    clock: float
    random: Tensor  # state of the generator


def to_tensors(state: ChipState) -> dict[str, Tensor]:
    """Return copies of all that changes, by name."""
    tensors = {
        f"layer/{layer}/{name}": tensor
        for layer, tensors in state.layers.items()
        for name, tensor in tensors.items()
    }
    tensors["placement"] = torch.tensor(list(_as_text(state.placement)), dtype=torch.uint8)
    tensors["clock"] = torch.tensor([state.clock], dtype=torch.float64)
    tensors["random"] = state.random
    return {name: tensor.clone() for name, tensor in tensors.items()}


def from_tensors(tensors: Mapping[str, Tensor]) -> ChipState:
    """Read what `to_tensors` returned."""
    layers: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("layer/"):
            layer, _, what = name.removeprefix("layer/").rpartition("/")
            layers.setdefault(layer, {})[what] = tensor.clone()
    placement = _from_text(bytes(tensors["placement"].tolist()))
    return ChipState(placement, layers, float(tensors["clock"]), tensors["random"].clone())


def _as_text(placement: Placement | None) -> bytes:
    if placement is None:
        return b""
    layers = {name: settings._asdict() for name, settings in placement.layers.items()}
    network = placement.network.model_dump(mode="json")
    return json.dumps([network, layers, placement.input_full_scale]).encode()


def _from_text(text: bytes) -> Placement | None:
    if not text:
        return None
    network, layers, top = json.loads(text)
    settings = {name: LayerSettings(**values) for name, values in layers.items()}
    return Placement(NetworkSpec.model_validate(network), settings, top)
