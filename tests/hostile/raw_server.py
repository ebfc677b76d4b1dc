"""A server behind the connection guard, and raw connections to it."""

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import Receive, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from service.connection_guard import guarded
from service.listening import listen
from service.open_connections import ConnectionLimits
from service.tls import event_loop

PATIENCE_S = 20.0  # within which an answer, or the end of a connection, has to come


async def echo(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    """Answer 200 once the whole body has arrived; at the path /early at once."""
    while scope["path"] != "/early" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def serving(limits: ConnectionLimits | None, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve `echo` on a port of its own, guarded or, without limits, as uvicorn does."""
    http = HttpToolsProtocol if limits is None else guarded(limits, tls)
    config = uvicorn.Config(
        echo,
        http=http,
        loop=event_loop(tls),
        lifespan="off",
        log_config=None,
        timeout_graceful_shutdown=1,
    )
    with running(config) as port:
        yield port


@contextmanager
def running(config: uvicorn.Config) -> Iterator[int]:
    """Run a server in a thread; yield its port."""
    listener = listen("127.0.0.1", 0)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """Open a connection from an address of this machine."""
    opened = socket.create_connection(("127.0.0.1", port), PATIENCE_S, (source, 0))
    opened.settimeout(PATIENCE_S)
    return opened


def status_of(connection: socket.socket) -> int | None:
    """Read until the connection has an answer or ends; return its status, or None without one."""
    try:
        answer = connection.recv(4096)
    except ConnectionError:
        return None
    return int(answer.split()[1]) if answer else None


def is_open(connection: socket.socket) -> bool:
    """Tell whether the other side has not closed a connection that it owes no answer."""
    connection.setblocking(False)
    try:
        return connection.recv(4096) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
