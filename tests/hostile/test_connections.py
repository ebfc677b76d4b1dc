"""Connections that wait, send too much, or too slowly."""

import resource
import select
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from fastapi.testclient import TestClient

from service import open_connections
from service.app import create_app
from service.cli.serve import server_config
from service.connection_guard import guarded
from service.open_connections import ConnectionLimits
from service.settings import Settings
from tests.hostile.raw_server import PATIENCE_S, connect, is_open, running, serving, status_of
from tests.ports import free_ports
from tests.recording import RecordingEngine

LIMITS = ConnectionLimits(
    connections=12,
    connections_per_address=8,
    header_bytes=4096,
    header_s=0.5,
    body_bytes_per_s=1000.0,
    body_check_s=0.5,
)
PLAIN = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
BODY = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n"


def _large_header(size: int) -> bytes:
    return b"GET / HTTP/1.1\r\nhost: a\r\nx-large: " + b"a" * size


def test_a_header_block_within_the_limit_is_answered() -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(_large_header(3000) + b"\r\n\r\n")
        assert status_of(connection) == 200


@pytest.mark.parametrize("end", [b"\r\n\r\n", b""], ids=["whole", "unfinished"])
def test_a_header_block_above_the_limit_is_refused(end: bytes) -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(_large_header(8000) + end)
        assert status_of(connection) == 431
    with serving(None) as port, connect(port) as connection:  # uvicorn alone accepts it
        connection.sendall(_large_header(8000) + b"\r\n\r\n")
        assert status_of(connection) == 200


def test_many_small_headers_add_up() -> None:
    many = b"".join(b"x-%d: a\r\n" % index for index in range(1000))
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n" + many + b"\r\n")
        assert status_of(connection) == 431


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nhost:"], ids=["silent", "unfinished"])
def test_a_header_that_does_not_come_ends_the_connection(sent: bytes) -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(sent)
        assert status_of(connection) == 408


def test_the_deadline_holds_for_a_header_that_drips() -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(PLAIN)
        assert status_of(connection) == 200  # the deadline of a later request begins anew
        began = time.monotonic()
        connection.sendall(b"GET / HTTP/1.1\r\n")
        while time.monotonic() - began < PATIENCE_S and is_open(connection):
            try:
                connection.sendall(b"a")
            except ConnectionError:
                break
            time.sleep(0.05)
        assert time.monotonic() - began < PATIENCE_S


def test_a_body_that_comes_too_slowly_is_refused() -> None:
    with serving(LIMITS) as port, connect(port) as slow, connect(port) as quick:
        slow.sendall(BODY + b"a")
        quick.sendall(BODY)
        for _ in range(20):  # longer than two checks
            quick.sendall(b"a" * 5000)
            time.sleep(0.06)
        assert status_of(quick) == 200
        assert status_of(slow) == 408


def _send_on(connection: socket.socket) -> int:
    """Send an endless body to the path that answers early; return how much was taken."""
    connection.sendall(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n")
    sent = 0
    try:
        while sent < 32 * 2**20:
            connection.sendall(bytes(65536))
            sent += 65536
    except ConnectionError:
        pass
    return sent


def test_a_body_that_was_answered_is_not_read_to_its_end() -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        assert _send_on(connection) < 16 * 2**20  # with what the kernel's buffers take
    with serving(None) as port, connect(port) as connection:
        assert _send_on(connection) == 32 * 2**20


def test_waiting_connections_give_way_to_new_ones() -> None:
    with serving(LIMITS) as port:
        idle = [connect(port) for _ in range(LIMITS.connections_per_address)]
        with connect(port) as late:
            late.sendall(PLAIN)
            assert status_of(late) == 200
        assert status_of(idle[0]) == 408
        for connection in idle:
            connection.close()


def _ask(connection: socket.socket, key: str) -> int | None:
    head = f"GET /v1/jobs HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {key}\r\n\r\n"
    connection.sendall(head.encode())
    return status_of(connection)


@pytest.mark.parametrize("key_is_right", [True, False], ids=["key", "control"])
def test_idle_connections_of_a_key_give_way_last(settings: Settings, key_is_right: bool) -> None:
    app = create_app(settings, RecordingEngine())
    with running(uvicorn.Config(app, http=guarded(LIMITS), log_config=None)) as port:
        key = settings.key_file.read_text().strip()
        with connect(port) as kept:
            assert _ask(kept, key if key_is_right else "wrong") == (200 if key_is_right else 401)
            strangers = [connect(port) for _ in range(2 * LIMITS.connections_per_address)]
            with connect(port) as late:  # the stranger's connections were counted when it is
                assert _ask(late, key) == 200
            assert is_open(kept) is key_is_right
            for connection in strangers:
                connection.close()


def test_idle_connections_of_a_key_give_way_in_the_end(settings: Settings) -> None:
    app = create_app(settings, RecordingEngine())
    with running(uvicorn.Config(app, http=guarded(LIMITS), log_config=None)) as port:
        key = settings.key_file.read_text().strip()
        kept = [connect(port) for _ in range(LIMITS.connections_per_address)]
        assert {_ask(connection, key) for connection in kept} == {200}
        with connect(port) as late:
            assert _ask(late, key) == 200
        assert [is_open(connection) for connection in kept] == [False, *[True] * 7]
        for connection in kept:
            connection.close()


def test_an_idle_connection_stays_longer_than_clients_keep_it(settings: Settings) -> None:
    config = server_config(create_app(settings, RecordingEngine()), settings, None)
    with (
        running(config) as port,
        serving(ConnectionLimits()) as control,
        connect(port) as ours,
        connect(control) as other,
    ):
        for connection in (ours, other):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
            assert status_of(connection) == 200
        time.sleep(6.0)  # clients, such as httpx, keep one for 5 s
        assert is_open(ours)
        assert not is_open(other)


def test_connections_with_a_request_are_not_closed_for_new_ones() -> None:
    with serving(LIMITS) as port:
        busy = [connect(port) for _ in range(LIMITS.connections_per_address)]
        for connection in busy:
            connection.sendall(BODY + b"a" * 5000)
        time.sleep(0.1)
        with connect(port) as late, connect(port, "127.0.0.2") as other:
            assert status_of(late) == 503
            other.sendall(PLAIN)  # another address still has room
            assert status_of(other) == 200
        assert all(map(is_open, busy))
        for connection in busy:
            connection.close()
        time.sleep(0.1)
        with connect(port) as again:
            again.sendall(PLAIN)
            assert status_of(again) == 200


def test_several_addresses_together_do_not_exceed_the_limit() -> None:
    with serving(LIMITS) as port:
        busy = [connect(port, f"127.0.0.{2 + index}") for index in range(LIMITS.connections)]
        for connection in busy:
            connection.sendall(BODY + b"a" * 5000)
        time.sleep(0.1)
        with connect(port) as late:
            assert status_of(late) == 503
        for connection in busy:
            connection.close()


@contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """Let this process open so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def _held(port: int, count: int) -> int:
    """Open connections that send nothing; return how many the server keeps."""
    opened = [connect(port) for _ in range(count)]
    time.sleep(0.2)
    closed, _, _ = select.select(opened, [], [], 0)
    for connection in opened:
        connection.close()
    return count - len(closed)


def test_descriptors_are_kept_back_for_jobs_children_and_the_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    many = LIMITS._replace(connections=500, connections_per_address=500, header_s=30.0)
    kept = open_connections._DESCRIPTORS_KEPT
    with few_descriptors(kept + 40), serving(many) as port:
        assert _held(port, 80) == 40
    monkeypatch.setattr(open_connections, "_DESCRIPTORS_KEPT", 0)
    with few_descriptors(kept + 40), serving(many) as port:
        assert _held(port, 80) == 80


def test_the_port_of_the_metrics_is_guarded_too(settings: Settings) -> None:
    unused_port = next(free_ports())
    apart = settings.model_copy(update={"metrics_port": unused_port})
    with TestClient(create_app(apart, RecordingEngine())):
        with connect(unused_port) as connection:
            connection.sendall(_large_header(40_000))
            assert status_of(connection) == 431
        assert _held(unused_port, 24) == 16  # of one address
        with connect(unused_port) as connection:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n")
            assert status_of(connection) == 200


def test_requests_one_behind_the_other_are_answered() -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(PLAIN * 3)
        received = b""
        while received.count(b"200 OK") < 3:
            received += connection.recv(4096)
        assert is_open(connection)


def test_what_is_no_http_is_refused() -> None:
    with serving(LIMITS) as port, connect(port) as connection:
        connection.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert status_of(connection) == 400
