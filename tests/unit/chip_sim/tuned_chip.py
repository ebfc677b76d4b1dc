"""Chips with registers whose circuits are not alike, and settings of their registers."""

import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.spec import (
    ChipSpec,
    ConverterSpec,
    NeuronSpec,
    TuningSpec,
)
from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus, Tuning
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

ROWS, COLUMNS, TILE = 40, 20, 16
QUIET = TuningSpec(reference_noise_lsb=0.0, current_noise=0.0)
UNLIKE = ChipSpec(
    tile_rows=TILE,
    tile_columns=TILE,
    converter=ConverterSpec(adc_bits=8, gain_sd=0.05, offset_sd_lsb=2.0),
    neuron=NeuronSpec(threshold_mismatch=0.1, leak_mismatch=0.1),
    tuning=QUIET,
)


def network(hidden: int = COLUMNS) -> NetworkSpec:
    layers = (
        Linear(name="hidden", in_features=ROWS, out_features=hidden),
        Linear(name="readout", in_features=hidden, out_features=3),
    )
    return NetworkSpec(input_shape=(ROWS,), layers=layers)


def placed(spec: ChipSpec = UNLIKE, hidden: int = COLUMNS) -> SimulatedChip:
    chip = make_chip("c", spec, 4)
    chip.place(placement(hidden))
    return chip


def placement(hidden: int = COLUMNS) -> Placement:
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=240.0)
    return Placement(network(hidden), {"hidden": settings, "readout": settings}, 1.0)


def zeros() -> Tuning:
    banks = torch.zeros(3, COLUMNS, dtype=torch.int32)
    neurons = torch.zeros(COLUMNS, dtype=torch.int32)
    return Tuning(banks, banks, neurons, neurons, ranges(0, 0, 0))


def ranges(*codes: int) -> Tensor:
    return torch.tensor(codes, dtype=torch.int32)


def some(low: int = -5, high: int = 6) -> Tuning:
    rng = torch.Generator().manual_seed(1)

    def drawn(*shape: int) -> Tensor:
        return torch.randint(low, high, shape, generator=rng, dtype=torch.int32)

    banks = drawn(3, COLUMNS), drawn(3, COLUMNS)
    return Tuning(*banks, drawn(COLUMNS), drawn(COLUMNS), ranges(-2, 1, 0), 7)


def answers(chip: SimulatedChip, samples: int = 9) -> Tensor:
    shown = torch.rand(samples, ROWS, generator=torch.Generator().manual_seed(2))
    layer = chip.run(Stimulus(shown, 8), {"hidden": Observable.MEMBRANE}).layers["hidden"]
    assert layer.membrane is not None
    return layer.membrane


def written(spec: ChipSpec = UNLIKE) -> SimulatedChip:
    chip = placed(spec)
    rng = torch.Generator().manual_seed(3)
    chip.program("hidden", torch.randint(-20, 22, (COLUMNS, ROWS), generator=rng))
    return chip
