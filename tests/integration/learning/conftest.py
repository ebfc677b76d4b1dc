"""One teacher with its golden student for all tests of learning."""

from collections.abc import Iterator

import jaxtyping
import pytest

from tests.blobs import World, load_world


@pytest.fixture(scope="module", autouse=True)
def unchecked() -> Iterator[None]:
    """Check neither types nor shapes, as other tests do: learning would take 2.6 times as long."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def world() -> World:
    return load_world()
