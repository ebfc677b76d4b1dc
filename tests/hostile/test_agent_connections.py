"""An agent's own server is within limits of connections, headers and time, as the service is."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from starlette.types import ASGIApp

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from service.bench.agent.chip_server import ChipServer
from service.bench.agent.journal import Journal
from service.bench.agent.process import server_config
from service.bench.agent.server import create_agent
from service.bench.driver.http_chip import open_http_chip
from service.bench.driver.rpc_client import AgentAddress
from tests.agents import serving
from tests.hostile.hostile_agent import SECRET
from tests.hostile.raw_server import connect, running, status_of

LARGE = b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-Large: " + b"x" * 40_000 + b"\r\n\r\n"
MANY = 160  # connections of one address; an agent takes 96


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    chip_server = ChipServer(
        make_chip("bench-1", preset("pcm"), 7), Journal(tmp_path / "a.sqlite"), aging=0.0
    )
    return create_agent(chip_server, SECRET)


@contextmanager
def strangers(port: int) -> Iterator[list[socket.socket]]:
    """Hold connections that say nothing."""
    with ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(MANY)]


def is_held(connection: socket.socket) -> bool:
    """Tell whether an agent has neither answered nor closed a connection."""
    connection.setblocking(False)
    try:
        connection.recv(1)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


def status_of_large_header(port: int) -> int | None:
    with connect(port) as connection:
        connection.sendall(LARGE)
        return status_of(connection)


def test_a_large_header_is_refused_by_an_agent(app: ASGIApp) -> None:
    with running(server_config(app)) as port:
        assert status_of_large_header(port) == 431


def test_without_its_guard_an_agent_would_take_it(app: ASGIApp) -> None:
    with serving(app) as url:
        assert status_of_large_header(int(url.rpartition(":")[2])) == 200


def test_connections_of_a_stranger_leave_room_for_a_driver(app: ASGIApp) -> None:
    with running(server_config(app)) as port, strangers(port) as opened:
        address = AgentAddress(url=f"http://127.0.0.1:{port}", secret=SECRET, signed=True)
        chip = open_http_chip("bench-1", address, 1)
        assert chip.now() == 0.0
        chip.close()
        assert 0 < sum(map(is_held, opened)) <= 96


def test_an_agent_with_a_certificate_has_the_same_guard(app: ASGIApp) -> None:
    authority = trustme.CA()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with running(server_config(app, tls)) as port, strangers(port) as opened:
        answer = httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trusting)
        assert answer.json() == {"status": "ok"}
        large = {"X-Large": "x" * 40_000}
        refused = httpx.get(f"https://127.0.0.1:{port}/healthz", verify=trusting, headers=large)
        assert refused.status_code == 431
        assert 0 < sum(map(is_held, opened)) <= 96
