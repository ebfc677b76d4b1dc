"""One trained world for all tests of the learning core."""

import pytest

from tests.unit.ltl_core.worlds import World, make_world


@pytest.fixture(scope="session")
def world() -> World:
    return make_world()
