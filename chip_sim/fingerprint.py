"""The fixed stimulus of a probe, the same for every chip, and the mean rates that answer it."""

import torch
from jaxtyping import Float
from torch import Tensor

from chip_sim.randomness import stream
from ltl_core.chip import Fingerprint, LayerRecording, Observable, Placement, Recording, Stimulus

_BATCH = 16
_STEPS = 16


def probe_stimulus(placement: Placement) -> Stimulus:
    """Return random analog inputs [batch, *input] from zero to full scale, always the same."""
    shape = (_BATCH, *placement.network.input_shape)
    values = torch.rand(shape, generator=stream(0, "probe", *shape))
    return Stimulus(values * placement.input_full_scale, _STEPS)


def probe_record(placement: Placement) -> dict[str, Observable]:
    """Return what a probe records: counts of every layer that fires, sums of the readout."""
    stages = placement.network.stages
    return {s.name: Observable.MEMBRANE if s.is_readout else Observable.COUNTS for s in stages}


def fingerprint(recording: Recording, placement: Placement) -> Fingerprint:
    """Return the mean spikes a step of every column, over samples and positions.

    Of the readout it is the sum a step, bias included, as a multiple of the threshold.
    """
    rates = {
        name: _rates(layer, placement.layers[name].threshold)
        for name, layer in recording.layers.items()
    }
    return Fingerprint(rates, recording.chip_time)


def _rates(recording: LayerRecording, threshold: float) -> Float[Tensor, " column"]:
    if recording.membrane is not None:
        return recording.membrane[-1].mean(0) / (_STEPS * threshold)
    # For the type checker: a layer that fires was asked for its counts.
    assert recording.counts is not None  # nosec B101
    batch, columns = recording.counts.shape[:2]
    return recording.counts.float().view(batch, columns, -1).mean((0, 2)) / _STEPS
