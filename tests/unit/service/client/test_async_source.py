"""The client for asyncio has the names and signatures of the client that blocks."""

import inspect
from typing import Any

import pytest

from service.client.aio.sdk import AsyncTandemcal
from service.client.sdk import Tandemcal
from tests.unit.service.client.async_source import CLIENT, MODULES, source


@pytest.mark.parametrize("module", MODULES)
def test_the_module_is_up_to_date(module: str) -> None:
    written = (CLIENT / "aio" / f"{module}.py").read_text()
    assert written == source(module), "run python -m tests.unit.service.client.async_source"


def parameters(function: Any) -> list[tuple[str, Any, Any]]:
    """Return names, kinds and defaults."""
    found = inspect.signature(function).parameters.values()
    return [(one.name, one.kind, one.default) for one in found]


def test_both_clients_offer_the_same() -> None:
    blocking, awaited = Tandemcal("http://lab", "key"), AsyncTandemcal("http://lab", "key")
    parts = {name for name in vars(blocking) if not name.startswith("_")}
    assert parts == {name for name in vars(awaited) if not name.startswith("_")}
    for part in parts:
        one, other = getattr(blocking, part), getattr(awaited, part)
        names = {name for name in dir(one) if not name.startswith("_")}
        assert names == {name for name in dir(other) if not name.startswith("_")}
        for name in names:
            assert parameters(getattr(one, name)) == parameters(getattr(other, name))
    blocking.close()
