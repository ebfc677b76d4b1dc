"""The connection of a driver: what fails is named by its kind, before the deadline or at it."""

import socket
import time
from collections.abc import Iterator

import pytest

from service.bench.driver.bounded_reader import AnswerTimeoutError
from service.bench.driver.connection import Connection, PostRequest, UnreachableError
from service.networks import PRIVATE, AgentNetworks


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def url(server: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.getsockname()[1]}"


def post(address: str, seconds: float) -> None:
    connection = Connection(address, AgentNetworks(PRIVATE))
    try:
        connection.post(PostRequest("/v1/chip/now", b"", {}, time.monotonic() + seconds))
    finally:
        connection.close()


@pytest.mark.parametrize("seconds", [-1.0, 0.2])
def test_a_deadline_that_passes_is_a_timeout(silent: socket.socket, seconds: float) -> None:
    with pytest.raises(AnswerTimeoutError):
        post(url(silent), seconds)


def test_an_agent_without_tls_is_not_reached_by_https() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = url(server, "https")
        server.settimeout(5.0)
        with pytest.raises(UnreachableError):
            post(address, 0.5)


def test_a_port_on_which_nobody_listens_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = url(server)
    with pytest.raises(UnreachableError, match="refused"):
        post(address, 5.0)
