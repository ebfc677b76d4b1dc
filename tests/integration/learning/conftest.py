"""One teacher with its golden student for all tests of learning."""

from collections.abc import Iterator

import jaxtyping
import pytest

from tests.blobs import World, load_world


@pytest.fixture(scope="session")
def world() -> World:
    return load_world()


@pytest.fixture(autouse=True, scope="package")
def unchecked() -> Iterator[None]:
    """Types and shapes are not checked: that takes two thirds of a training."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
