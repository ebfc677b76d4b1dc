"""Stimuli for the chips of these tests, and what to read from their recordings."""

import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip
from ltl_core.chip import Observable, Recording, Stimulus

STEPS = 16
LAYERS = ("first", "second", "third")
EVERYTHING = {**dict.fromkeys(LAYERS, Observable.MEMBRANE), "readout": Observable.MEMBRANE}


def images(batch: int = 9) -> Stimulus:
    values = torch.rand((batch, 2, 6, 6), generator=torch.Generator().manual_seed(6))
    return Stimulus(values, STEPS)


def membrane(recording: Recording, layer: str) -> Tensor:
    shown = recording.layers[layer].membrane
    assert shown is not None
    return shown


def counts(chip: SimulatedChip, layer: str = "third") -> Tensor:
    shown = chip.run(images(), {layer: Observable.COUNTS}).layers[layer].counts
    assert shown is not None
    return shown
