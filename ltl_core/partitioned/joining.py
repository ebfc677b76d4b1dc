"""Recordings of the parts of a layer, joined along its columns, and cut to what was asked for."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ltl_core.chip import LayerRecording, Observable


def joined(parts: Sequence[LayerRecording]) -> LayerRecording:
    """Return the recording of a layer from those of its parts, in the order of their columns."""
    if len(parts) == 1:
        return parts[0]
    return LayerRecording(
        counts=_joined([part.counts for part in parts], dim=1),
        spikes=_joined([part.spikes for part in parts], dim=2),
        window=_joined([part.window for part in parts], dim=2),
        membrane=_joined([part.membrane for part in parts], dim=2),
    )


def kept(recording: LayerRecording, asked: Observable) -> LayerRecording:
    """Return what was asked for: counts alone if spikes were recorded for the next part."""
    if asked is not Observable.COUNTS or recording.spikes is None:
        return recording
    return LayerRecording(counts=recording.spikes.sum(0).int())


def _joined(parts: Sequence[Tensor | None], dim: int) -> Tensor | None:
    found = [part for part in parts if part is not None]
    return torch.cat(found, dim) if len(found) == len(parts) else None
