"""The server of the service, when it has started."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from rich.console import Console

from service.cli.serve import _Server
from service.listening import listen


@pytest.fixture(autouse=True)
def _thaw() -> Iterator[None]:
    yield
    gc.unfreeze()


async def _nothing(_: Any, __: Any, ___: Any) -> None:
    """Answer nothing."""


async def _started(server: uvicorn.Server) -> int:
    """Start the server; return how many objects no collection visits any more."""
    config = server.config
    config.load()
    server.lifespan = config.lifespan_class(config)
    listener = listen("127.0.0.1", 0)
    await server.startup([listener])
    frozen = gc.get_freeze_count()
    await server.shutdown([listener])
    return frozen


@pytest.mark.parametrize("ours", [True, False], ids=["ours", "control"])
def test_what_exists_at_the_start_is_out_of_later_collections(ours: bool) -> None:
    config = uvicorn.Config(_nothing, interface="asgi3", lifespan="off", log_config=None)
    server = _Server(config, Console(quiet=True), [], "http") if ours else uvicorn.Server(config)
    before = len(gc.get_objects())
    frozen = asyncio.run(_started(server))
    assert (frozen > 0.8 * before) is ours
