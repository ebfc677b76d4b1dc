"""Every backend of this repository that must keep the contract of `tandemcal.testing`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chip_sim.chip import make_chip
from chip_sim.presets import NAMES, PAPER, preset
from ltl_core.chip import ChipBackend
from tandemcal.testing.networks import oversized, placement
from tests.agents import serve_agent
from tests.bare_chip import BareChip

__all__ = ["chip", "oversized", "placement"]
OVER_HTTP = ("ideal-side", "harsh-side")
# Their assertions are explained as those of test files are: they are imported, not collected.
pytest.register_assert_rewrite(
    *(f"tandemcal.testing.{path.stem}" for path in Path(__file__).parent.glob("test_*.py"))
)


@pytest.fixture(params=[*NAMES, *PAPER, "bare", *(f"http-{name}" for name in OVER_HTTP)])
def chip(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ChipBackend]:
    """A chip on which nothing is placed yet; some are behind an agent on a socket."""
    if request.param == "bare":
        yield BareChip("ideal")
        return
    name = request.param.removeprefix("http-")
    made = make_chip("bench-1", preset(name), seed=7)
    if name == request.param:
        yield made
        return
    with serve_agent(tmp_path, made) as agent, agent.drive() as driver:
        yield driver
