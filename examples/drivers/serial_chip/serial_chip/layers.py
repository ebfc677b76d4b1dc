"""One layer on the chip: its slot, the vectors that its columns see, and what it shows."""

import hashlib
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from serial_chip.protocol import WRITE
from tandemcal.backend import (
    CodeRangeError,
    LayerRecording,
    LayerSettings,
    LayerShapeError,
    Observable,
    Placement,
)
from tandemcal.network import Conv2d, Stage


class Layer(NamedTuple):
    """One placed layer: its slot, its registers, and the bias codes that it was given last."""

    slot: int
    stage: Stage
    settings: LayerSettings
    bias: Tensor  # [column], codes


def network_digest(placement: Placement) -> bytes:
    """Return 16 bytes that name a network and its registers."""
    settings = {name: tuple(layer) for name, layer in placement.layers.items()}
    told = (placement.network.model_dump_json(), sorted(settings.items()), placement[2])
    return hashlib.sha256(repr(told).encode()).digest()[:16]


def group_count(stage: Stage) -> int:
    """Return the groups of a layer's channels; more than one only where it is a convolution."""
    return stage.layer.groups if isinstance(stage.layer, Conv2d) else 1


def cell_block(slot: int, first: int, codes: np.ndarray) -> bytes:
    """Return the request for the cells of some columns of a slot, from `first` on."""
    return WRITE.pack(slot, first, *codes.shape)


def bias_registers(layer: Layer) -> bytes:
    """Return the request that sets the biases of a layer."""
    return bytes([layer.slot]) + layer.bias.numpy().astype("<i2").tobytes()


def input_vectors(stage: Stage, signal: Tensor) -> Tensor:
    """Return what the columns see, [time, batch * position, row]."""
    flat = signal.flatten(0, 1)
    for pool in stage.pools:
        flat = F.avg_pool2d(flat, pool.kernel, pool.stride)
    if isinstance(stage.layer, Conv2d):
        kind = stage.layer
        flat = F.unfold(flat, kind.kernel, 1, kind.padding, kind.stride).transpose(1, 2)
    return flat.reshape(len(signal), -1, stage.rows)


def check_codes(
    layer: str, what: str, codes: Tensor, shape: tuple[int, ...], top: int, low: int | None = None
) -> None:
    """Raise LayerShapeError or CodeRangeError for codes of another shape, or out of range."""
    if tuple(codes.shape) != shape or codes.is_floating_point():
        raise LayerShapeError(layer, shape, tuple(codes.shape), f"integer {what} codes")
    low = -top if low is None else low
    if codes.min() < low or codes.max() > top:
        raise CodeRangeError(layer, what, low, top)


def recording_of(layer: Layer, answer: Tensor, asked: Observable) -> LayerRecording:
    """Return what was asked for of a layer; of a readout its running sums, always."""
    if layer.stage.is_readout:
        return LayerRecording(membrane=answer)
    spikes = None if asked is Observable.COUNTS else answer
    return LayerRecording(counts=answer.sum(0).int(), spikes=spikes)
