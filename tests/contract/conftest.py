"""Every backend that must keep the contract, and a network that all of them can hold."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chip_sim.chip import make_chip
from chip_sim.presets import NAMES, preset
from ltl_core.chip import ChipBackend, LayerSettings, Placement
from ltl_core.network.layers import AvgPool2d, Conv2d, Linear
from ltl_core.network.spec import NetworkSpec
from tests.agents import bench

OVER_HTTP = ("ideal", "harsh")


@pytest.fixture(params=[*NAMES, *(f"http-{name}" for name in OVER_HTTP)])
def chip(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChipBackend]:
    """A chip on which nothing stands yet; some stand behind an agent on a socket."""
    name = request.param.removeprefix("http-")
    made = make_chip("bench-1", preset(name), seed=7)
    if name == request.param:
        yield made
        return
    with bench(tmp_path, made) as agent, agent.drive() as driver:
        yield driver


def placed(network: NetworkSpec) -> Placement:
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=240.0)
    return Placement(network, {stage.name: settings for stage in network.stages}, 1.0)


@pytest.fixture
def placement() -> Placement:
    return placed(
        NetworkSpec(
            input_shape=(1, 6, 6),
            layers=(
                Conv2d(name="conv", in_channels=1, out_channels=4, kernel=(3, 3)),
                AvgPool2d(name="pool", kernel=(2, 2), stride=(2, 2)),
                Linear(name="hidden", in_features=16, out_features=8),
                Linear(name="readout", in_features=8, out_features=3),
            ),
        )
    )


@pytest.fixture
def oversized() -> Placement:
    return placed(
        NetworkSpec(
            input_shape=(20_000,),
            layers=(
                Linear(name="conv", in_features=20_000, out_features=20_000),
                Linear(name="readout", in_features=20_000, out_features=2),
            ),
        )
    )
