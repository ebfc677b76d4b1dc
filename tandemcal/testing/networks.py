"""Networks that the contract tests place, and how their layers are driven."""

import pytest

from tandemcal.backend import ChipBackend, LayerSettings, Placement
from tandemcal.network import AvgPool2d, Conv2d, Linear, NetworkSpec

USUAL_TOP = 63  # the largest weight code of a chip with the levels below


def placed(network: NetworkSpec, top: int = USUAL_TOP) -> Placement:
    """Drive every layer of the network with the same settings, for weight codes up to `top`."""
    levels = (level * (top / USUAL_TOP) for level in (20.0, 60.0, 240.0))
    window, threshold, full_scale = levels
    settings = LayerSettings(threshold, 0.9, window, full_scale)
    return Placement(network, {stage.name: settings for stage in network.stages}, 1.0)


def other_network() -> Placement:
    """A network that no test places: it takes the place of what stood on a chip before."""
    readout = Linear(name="readout", in_features=2, out_features=2)
    return placed(NetworkSpec(input_shape=(2,), layers=(readout,)))


@pytest.fixture
def placement(chip: ChipBackend) -> Placement:
    """A convolution, a pool, a hidden layer and a readout."""
    return placed(
        NetworkSpec(
            input_shape=(1, 6, 6),
            layers=(
                Conv2d(name="conv", in_channels=1, out_channels=4, kernel=(3, 3)),
                AvgPool2d(name="pool", kernel=(2, 2), stride=(2, 2)),
                Linear(name="hidden", in_features=16, out_features=8),
                Linear(name="readout", in_features=8, out_features=3),
            ),
        ),
        chip.info.weight_code_max,
    )


@pytest.fixture
def oversized() -> Placement:
    """A network of 400 million weights."""
    return placed(
        NetworkSpec(
            input_shape=(20_000,),
            layers=(
                Linear(name="conv", in_features=20_000, out_features=20_000),
                Linear(name="readout", in_features=20_000, out_features=2),
            ),
        )
    )
