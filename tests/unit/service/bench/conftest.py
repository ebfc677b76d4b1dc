"""A small network, an agent in front of a chip, and a proxy in front of an agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ltl_core.chip import LayerSettings, Placement
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec
from service.bench.driver.http_chip import HttpChip
from tests.agents import ServedAgent, serve_agent
from tests.proxies import Proxy, driven
from tests.unit.service.bench.calls import CODES


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
def agent(tmp_path: Path) -> Iterator[ServedAgent]:
    with serve_agent(tmp_path, answer_s=10.0, reach_s=1.0) as served:
        yield served


class Overheard(NamedTuple):
    """A chip on which the network stands, and the proxy through which it is driven."""

    proxy: Proxy
    chip: HttpChip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, placement: Placement) -> Iterator[Overheard]:
    """One for all: no test leaves its chip in a state that another one minds."""
    with serve_agent(tmp_path_factory.mktemp("agent"), answer_s=10.0, reach_s=1.0) as agent:
        proxy = Proxy(agent)
        with driven(proxy) as chip:
            chip.place(placement)
            chip.program("hidden", CODES)
            yield Overheard(proxy, chip)


@pytest.fixture
def proxy(shared: Overheard) -> Proxy:
    """It hands on what it gets, until it is told otherwise."""
    shared.proxy.be_honest()
    return shared.proxy


@pytest.fixture
def chip(shared: Overheard) -> HttpChip:
    return shared.chip
