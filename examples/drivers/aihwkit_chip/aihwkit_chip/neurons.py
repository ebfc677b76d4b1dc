"""Digital neurons behind the converters: no two of them differ."""

import torch
from torch import Tensor

from tandemcal.backend import LayerRecording, LayerSettings, Observable

TRIM_LSB = 1 / 256  # of the threshold


def fire(
    sums: Tensor, settings: LayerSettings, trims: tuple[Tensor, Tensor], asked: Observable | None
) -> tuple[LayerRecording, Tensor]:
    """Return recording and spikes of a layer, by u' = decay u (1 - s) + sum + bias.

    Sums are [time, batch, *output], in code units; `trims` are codes of thresholds and biases.
    """
    columns = (-1, *(1,) * (sums.dim() - 3))
    threshold_trim, bias = (trim.view(columns) * TRIM_LSB * settings.threshold for trim in trims)
    threshold = settings.threshold + threshold_trim
    potentials, spikes = torch.empty_like(sums), torch.zeros_like(sums)
    membrane, fired = torch.zeros_like(sums[0]), torch.zeros_like(sums[0])
    for step, current in enumerate(sums):
        membrane = settings.decay * membrane * (1 - fired) + current + bias
        fired = (membrane > threshold).float()
        potentials[step], spikes[step] = membrane, fired
    near = (potentials - threshold).abs() < settings.window
    recording = LayerRecording(
        counts=spikes.sum(0).int(),
        spikes=None if asked is Observable.COUNTS else spikes.bool(),
        window=near if asked is Observable.WINDOW else None,
        membrane=potentials if asked is Observable.MEMBRANE else None,
    )
    return recording, spikes


def running_sums(sums: Tensor, settings: LayerSettings, bias: Tensor) -> LayerRecording:
    """Return the sums of a readout with its biases, after every step."""
    return LayerRecording(membrane=(sums + bias * TRIM_LSB * settings.threshold).cumsum(0))
