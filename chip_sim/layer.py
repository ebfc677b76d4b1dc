"""One layer as it is placed on the chip: its cells, its registers, and the tiles under it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from chip_sim.cells import Cells
from chip_sim.flicker_noise import FlickerNoise
from chip_sim.identity import LayerIdentity
from chip_sim.second_thread import Later
from chip_sim.tiling import Tiling
from ltl_core.chip import LayerSettings, SideWeights, Tuning
from ltl_core.network.stages import Stage


class Trims(NamedTuple):
    """Digital register codes, one for each column."""

    threshold: Int[Tensor, " column"]
    bias: Int[Tensor, " column"]


class PlacedLayer(NamedTuple):
    """Everything about a layer on the chip. A trim makes a new one; a write changes its cells."""

    stage: Stage
    settings: LayerSettings
    tiling: Tiling
    identity: LayerIdentity
    cells: Cells
    trims: Trims
    tuning: Tuning
    flicker: FlickerNoise
    side: SideWeights | None = None  # None adds nothing
    now: Later[Tensor] | None = None  # in a run: its weights at this instant, as they are coming


def layer_tensors(layer: PlacedLayer) -> dict[str, Tensor]:
    """Return what of a layer does not follow from the chip's spec, seed and placement."""
    trims = {f"trim_{name}": codes for name, codes in layer.trims._asdict().items()}
    tuning = {
        "adc_range": layer.tuning.adc_range,
        "readout_gain": torch.tensor(layer.tuning.readout_gain),
    }
    return {**layer.cells.tensors(), **trims, **tuning, **_side_tensors(layer.side)}


def with_tensors(layer: PlacedLayer, tensors: Mapping[str, Tensor]) -> PlacedLayer:
    """Return the layer with what `layer_tensors` gave.

    Earlier states hold one range, for all rows of tiles, or none, which is nominal; and neither a
    gain of the readout nor side weights. Raises KeyError if another tensor is missing.
    """
    cells = Cells.from_tensors(tensors)
    trims = Trims(*(tensors[f"trim_{name}"] for name in Trims._fields))
    nominal = layer.tuning.adc_range
    ranges = tensors.get("adc_range", nominal).to(nominal.dtype).expand(nominal.shape)
    gain = int(tensors.get("readout_gain", 0))
    tuning = layer.tuning._replace(adc_range=ranges, readout_gain=gain)
    return layer._replace(cells=cells, trims=trims, tuning=tuning, side=_side(tensors))


def _side_tensors(side: SideWeights | None) -> dict[str, Tensor]:
    if side is None:
        return {}
    scales = torch.tensor((side.down_scale, side.up_scale), dtype=torch.float64)
    return {"side_down": side.down, "side_up": side.up, "side_scales": scales}


def _side(tensors: Mapping[str, Tensor]) -> SideWeights | None:
    if "side_scales" not in tensors:
        return None
    return SideWeights(tensors["side_down"], tensors["side_up"], *tensors["side_scales"].tolist())
