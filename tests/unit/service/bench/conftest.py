"""A small network, and an agent in front of a chip on which it stands."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ltl_core.chip import LayerSettings, Placement
from ltl_core.layer_kinds import Linear
from ltl_core.network import NetworkSpec
from tests.agents import Bench, bench


@pytest.fixture(scope="session")
def placement() -> Placement:
    network = NetworkSpec(
        input_shape=(6,),
        layers=(
            Linear(name="hidden", in_features=6, out_features=4),
            Linear(name="readout", in_features=4, out_features=3),
        ),
    )
    settings = LayerSettings(threshold=60.0, decay=0.9, window=20.0, full_scale=240.0)
    return Placement(network, {"hidden": settings, "readout": settings}, 1.0)


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path, answer_s=10.0, reach_s=1.0) as served:
        yield served
