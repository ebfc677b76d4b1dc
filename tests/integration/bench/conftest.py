"""A small network, an agent in front of a chip, and a proxy in front of an agent."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from ltl_core.chip import Placement
from service.bench.driver.http_chip import HttpChip
from tests.agents import ServedAgent, serve_agent
from tests.calls import CODES, small_placement
from tests.proxies import Proxy, drive_through


@pytest.fixture(scope="session")
def placement() -> Placement:
    return small_placement()


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[ServedAgent]:
    with serve_agent(tmp_path, answer_s=10.0, reach_s=1.0) as served:
        yield served


class ProxiedChip(NamedTuple):
    """A chip with the network placed, and the proxy between it and its driver."""

    proxy: Proxy
    chip: HttpChip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, placement: Placement) -> Iterator[ProxiedChip]:
    """One chip for all tests of a module: none leaves it in a state that matters to another."""
    with serve_agent(tmp_path_factory.mktemp("agent"), answer_s=10.0, reach_s=1.0) as agent:
        proxy = Proxy(agent)
        with drive_through(proxy) as chip:
            chip.place(placement)
            chip.program("hidden", CODES)
            yield ProxiedChip(proxy, chip)


@pytest.fixture
def proxy(shared: ProxiedChip) -> Proxy:
    """The proxy; it passes answers on unchanged until a test says how to change them."""
    shared.proxy.pass_all_on()
    return shared.proxy


@pytest.fixture
def chip(shared: ProxiedChip, proxy: Proxy) -> HttpChip:
    """The chip, behind a proxy that changes no answers at the start of a test."""
    assert proxy is shared.proxy
    return shared.chip
