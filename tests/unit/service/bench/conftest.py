"""A small network to place on chips."""

import pytest

from ltl_core.chip import Placement
from tests.calls import small_placement


@pytest.fixture(scope="session")
def placement() -> Placement:
    return small_placement()
