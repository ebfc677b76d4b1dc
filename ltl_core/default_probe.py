"""The probe of a chip that has none of its own: a fixed stimulus, presented with `run`."""

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import (
    ChipBackend,
    Fingerprint,
    LayerRecording,
    LayerSettings,
    Observable,
    Placement,
    Stimulus,
)
from ltl_core.errors import ChipError
from ltl_core.optional_verbs import ProbingChip

_SAMPLES, _STEPS = 16, 16


def probe_chip(chip: ChipBackend, placement: Placement | None) -> Fingerprint:
    """Return the chip's answer to its own stimulus or, if it has none, to that of `probe_by_run`.

    `placement` is what stands on the chip. Raises what the chip raises, and a ChipError if it is
    needed and None.
    """
    return chip.probe() if isinstance(chip, ProbingChip) else probe_by_run(chip, placement)


def probe_by_run(chip: ChipBackend, placement: Placement | None) -> Fingerprint:
    """Present random inputs from zero to full scale, always the same, and return the mean rates.

    `placement` is what stands on the chip. Raises a ChipError if it is None, and what `run` raises.
    """
    if placement is None:
        raise ChipError("No network is placed on the chip: place one, and probe it then.")
    stages = placement.network.stages
    record = {s.name: Observable.MEMBRANE if s.is_readout else Observable.COUNTS for s in stages}
    shown = chip.run(_stimulus(placement), record)
    rates = {
        name: _rates(recording, placement.layers[name]) for name, recording in shown.layers.items()
    }
    return Fingerprint(rates, shown.chip_time)


def _stimulus(placement: Placement) -> Stimulus:
    shape = (_SAMPLES, *placement.network.input_shape)
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    return Stimulus(values * placement.input_full_scale, _STEPS)


def _rates(recording: LayerRecording, settings: LayerSettings) -> Float[Tensor, " column"]:
    if recording.membrane is not None:
        return recording.membrane[-1].mean(0) / (_STEPS * settings.threshold)
    if recording.counts is None:
        raise ChipError("The chip's driver returned neither counts nor sums of a layer.")
    batch, columns = recording.counts.shape[:2]
    return recording.counts.float().view(batch, columns, -1).mean((0, 2)) / _STEPS
