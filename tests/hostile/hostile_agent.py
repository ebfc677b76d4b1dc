"""A server that pretends to be an agent: it answers every connection with bytes of its own."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from service.bench.driver.http_chip import open_http_chip
from service.bench.driver.rpc_client import AgentAddress
from service.digests import CONTENT_DIGEST, content_digest
from service.listening import listen

SECRET = "s" * 43
Answer = Callable[[socket.socket, bytes], None]  # what it does once the head of a call has arrived


@contextmanager
def pretending(answer: Answer) -> Iterator[str]:
    """Serve `answer` on a port of its own; yield the URL."""
    listener = listen("127.0.0.1", 0)
    listener.listen()
    threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _serve(listener: socket.socket, answer: Answer) -> None:
    with suppress(OSError):
        while True:
            opened, _ = listener.accept()
            threading.Thread(target=_answer, args=(opened, answer), daemon=True).start()


def _answer(opened: socket.socket, answer: Answer) -> None:
    with opened, suppress(OSError):
        answer(opened, opened.recv(1 << 16))


def saying(content: bytes) -> Answer:
    """Send these bytes, and end the connection."""
    return lambda opened, _: opened.sendall(content)


def http_answer(status: str, content: bytes, *headers: str) -> bytes:
    """Return a whole answer with the checksum that an agent sends."""
    lines = (
        f"HTTP/1.1 {status}",
        f"Content-Length: {len(content)}",
        f"{CONTENT_DIGEST}: {content_digest(content)}",
        *headers,
    )
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def refusal(status: str, error: str | None, detail: str, **attributes: object) -> bytes:
    """Return a refused call, as an agent writes it."""
    payload = {"error": error, "detail": detail, "attributes": attributes}
    return http_answer(status, json.dumps(payload).encode())


def fault_of(url: str, *, signed: bool = False, **limits: float) -> BaseException:
    """Open the chip of the server at this URL; return the error that this raises."""
    usual = {"answer_s": 5.0, "reach_s": 0.05}
    address = AgentAddress(url=url, secret=SECRET, signed=signed, **(usual | limits))
    try:
        open_http_chip("bench-1", address, 1).close()
    except Exception as error:
        return error
    raise AssertionError("the chip of a foreign server was opened")
