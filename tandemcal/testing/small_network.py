"""What the promises of a chip are tested with: codes, images, and what the network answers."""

from collections.abc import Mapping

import torch
from torch import Tensor

from tandemcal.backend import ChipBackend, Observable, Placement, Recording, Stimulus
from tandemcal.testing.networks import USUAL_TOP

STEPS = 12
BATCH = 5
HIDDEN = ("conv", "hidden")
SHAPES = {"conv": (4, 4, 4), "hidden": (8,), "readout": (3,)}


def some_codes(placement: Placement, top: int, seed: int = 1) -> dict[str, Tensor]:
    """Draw codes up to two thirds of `top` for every layer of a placed network.

    Chips of other code ranges get the same weights, as well as their codes allow.
    """
    rng = torch.Generator().manual_seed(seed)
    low, high = -USUAL_TOP // 2, 2 * USUAL_TOP // 3
    drawn = {
        stage.name: torch.randint(low, high, (stage.columns, stage.rows), generator=rng)
        for stage in placement.network.stages
    }
    return {name: (codes * (top / USUAL_TOP)).round().long() for name, codes in drawn.items()}


def program_all(chip: ChipBackend, placement: Placement) -> dict[str, Tensor]:
    """Program every layer with codes drawn at random; return the codes."""
    codes = some_codes(placement, chip.info.weight_code_max)
    for layer, wanted in codes.items():
        chip.program(layer, wanted)
    return codes


def images() -> Tensor:
    """Draw a batch of images of the network's input shape."""
    return torch.rand((BATCH, 1, 6, 6), generator=torch.Generator().manual_seed(2))


def show(chip: ChipBackend, record: Mapping[str, Observable]) -> Recording:
    """Present the images and record what was asked for."""
    return chip.run(Stimulus(images(), STEPS), record)


def mean_counts(chip: ChipBackend, runs: int = 4) -> Tensor:
    """Mean spike count of each hidden neuron over several runs."""
    shown = [show(chip, {"hidden": Observable.COUNTS}).layers["hidden"].counts for _ in range(runs)]
    return torch.stack([counts for counts in shown if counts is not None]).float().mean((0, 1))
