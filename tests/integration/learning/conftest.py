"""One teacher with its golden student for all tests of learning."""

import pytest

from tests.blobs import World, load_world


@pytest.fixture(scope="session")
def world() -> World:
    return load_world()
