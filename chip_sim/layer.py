"""One layer as it is placed on the chip: its cells, its registers, and the tiles under it."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from chip_sim.flicker_noise import FlickerNoise
from chip_sim.identity import LayerIdentity
from chip_sim.tiling import Tiling
from ltl_core.chip import LayerSettings, SideWeights, Tuning
from ltl_core.network.stages import Stage


class Cells(NamedTuple):
    """The devices of a layer. What is drawn at a write stays until the next one."""

    codes: Int[Tensor, "column row"]
    g: Float[Tensor, "2 column row"]  # conductance as programmed, S
    nu: Float[Tensor, "2 column row"]  # drift exponent
    wander: Float[Tensor, "2 column row"]  # see DriftDraw
    written_at: Float[Tensor, "2 column row"]  # the chip's clock, s, double precision


class Trims(NamedTuple):
    """Digital register codes, one for each column."""

    threshold: Int[Tensor, " column"]
    bias: Int[Tensor, " column"]


class PlacedLayer(NamedTuple):
    """Everything about a layer on the chip. A write or a trim makes a new one."""

    stage: Stage
    settings: LayerSettings
    tiling: Tiling
    identity: LayerIdentity
    cells: Cells
    trims: Trims
    tuning: Tuning
    flicker: FlickerNoise
    side: SideWeights | None = None  # None adds nothing


def empty_cells(columns: int, rows: int) -> Cells:
    """Return cells that were never written."""
    devices = torch.zeros(2, columns, rows)
    return Cells(
        torch.zeros(columns, rows, dtype=torch.int32),
        *(devices, devices, devices),
        devices.to(torch.float64),
    )


def layer_tensors(layer: PlacedLayer) -> dict[str, Tensor]:
    """Return what of a layer does not follow from the chip's spec, seed and placement."""
    trims = {f"trim_{name}": codes for name, codes in layer.trims._asdict().items()}
    tuning = {
        "adc_range": layer.tuning.adc_range,
        "readout_gain": torch.tensor(layer.tuning.readout_gain),
    }
    return {**layer.cells._asdict(), **trims, **tuning, **_side_tensors(layer.side)}


def with_tensors(layer: PlacedLayer, tensors: Mapping[str, Tensor]) -> PlacedLayer:
    """Return the layer with what `layer_tensors` gave.

    Earlier states hold one range, for all rows of tiles, or none, which is nominal; and neither a
    gain of the readout nor side weights. Raises KeyError if another tensor is missing.
    """
    cells = Cells(*(tensors[name] for name in Cells._fields))
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
