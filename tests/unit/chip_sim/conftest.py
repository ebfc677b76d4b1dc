"""A small network, and chips to place it on."""

from collections.abc import Callable

import pytest
import torch

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.spec import ChipSpec
from ltl_core.chip import LayerSettings, Placement
from ltl_core.network.layers import AvgPool2d, Conv2d, Linear
from ltl_core.network.spec import NetworkSpec

Build = Callable[..., SimulatedChip]


@pytest.fixture
def network() -> NetworkSpec:
    return NetworkSpec(
        input_shape=(2, 6, 6),
        layers=(
            Conv2d(name="first", in_channels=2, out_channels=6, kernel=(3, 3), padding=(1, 1)),
            AvgPool2d(name="pool", kernel=(2, 2), stride=(2, 2)),
            Conv2d(name="second", in_channels=6, out_channels=5, kernel=(2, 2), stride=(1, 1)),
            Linear(name="third", in_features=20, out_features=7),
            Linear(name="readout", in_features=7, out_features=3),
        ),
    )


@pytest.fixture
def placement(network: NetworkSpec) -> Placement:
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=200.0)
    return Placement(network, {stage.name: settings for stage in network.stages}, 1.0)


@pytest.fixture
def codes(network: NetworkSpec) -> dict[str, torch.Tensor]:
    rng = torch.Generator().manual_seed(11)
    return {
        stage.name: torch.randint(-52, 64, (stage.columns, stage.rows), generator=rng)
        for stage in network.stages
    }


@pytest.fixture
def build(placement: Placement, codes: dict[str, torch.Tensor]) -> Build:
    """A chip that holds the network."""

    def built(spec: ChipSpec, seed: int = 5) -> SimulatedChip:
        chip = make_chip("bench-1", spec, seed)
        chip.place(placement)
        for layer, wanted in codes.items():
            chip.program(layer, wanted)
        return chip

    return built
