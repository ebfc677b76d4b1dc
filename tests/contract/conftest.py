"""Every backend of this repository that must keep the contract of `tandemcal.testing`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chip_sim.chip import make_chip
from chip_sim.presets import NAMES, preset
from ltl_core.chip import ChipBackend
from tandemcal.testing.networks import other_network, oversized, placement
from tests.agents import serve_agent
from tests.serial_chips import firmware, serial_chip

__all__ = ["chip", "oversized", "placement"]
OVER_HTTP = ("ideal-side", "harsh-side")
SERIAL = "serial"
# Their assertions are explained as those of test files are: they are imported, not collected.
pytest.register_assert_rewrite(
    *(f"tandemcal.testing.{path.stem}" for path in Path(__file__).parent.glob("test_*.py"))
)


@pytest.fixture(scope="session")
def serial_port() -> Iterator[int]:
    """The port of the serial chip of the examples."""
    with firmware() as port:
        yield port


@pytest.fixture(params=[*NAMES, *(f"http-{name}" for name in OVER_HTTP), SERIAL])
def chip(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChipBackend]:
    """A chip on which nothing is placed yet; some are behind an agent or a line."""
    if request.param == SERIAL:
        with serial_chip(request.getfixturevalue("serial_port")) as driver:
            driver.place(other_network())
            yield driver
        return
    name = request.param.removeprefix("http-")
    made = make_chip("bench-1", preset(name), seed=7)
    if name == request.param:
        yield made
        return
    with serve_agent(tmp_path, made) as agent, agent.drive() as driver:
        yield driver
