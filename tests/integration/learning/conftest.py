"""One teacher with its golden student for all tests of learning."""

from collections.abc import Iterator

import jaxtyping
import pytest

from tests.blobs import World, load_world


@pytest.fixture(scope="session")
def world() -> World:
    return load_world()


@pytest.fixture(scope="module")
def unchecked() -> Iterator[None]:
    """The longest files run without checks of types and shapes, which double their time."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
