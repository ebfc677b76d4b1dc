"""The line to the chip: time-outs, retries, and who answers at its end."""

import secrets
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import partial
from typing import NamedTuple

from serial_chip.protocol import (
    ANSWER,
    HOST_BYTES,
    REQUEST,
    Command,
    Frame,
    GarbledError,
    Hello,
    Status,
    read_frame,
    to_bytes,
    to_hello,
)
from tandemcal.backend import ChipError, ChipUnavailableError, SettingError

Ask = Callable[[Command, bytes], bytes]


class LineSettings(NamedTuple):
    """Where the chip is, which one it is, and how long it may take."""

    port: int
    serial: str
    host: str = "127.0.0.1"
    answer_s: float = 5.0  # for one answer
    request_s: float = 20.0  # for a request, with all its tries
    tries: int = 4
    pause_s: float = 0.05  # before the second try; doubled each time


class Line:
    """Asks the chip, again where the line fails; nothing is done twice.

    `restore` gets a function that asks, when the chip has booted since it was asked last.
    """

    def __init__(
        self, chip_id: str, settings: LineSettings, restore: Callable[[Ask], None]
    ) -> None:
        """Open nothing yet. Raises SettingError if no try or no time is allowed."""
        if settings.tries < 1 or min(settings.answer_s, settings.request_s) <= 0:
            raise SettingError("A line needs 'tries' of at least 1, and times above 0 s.")
        self._chip_id, self._settings, self._restore = chip_id, settings, restore
        self._socket: socket.socket | None = None
        self._host = secrets.token_bytes(HOST_BYTES)  # other hosts' sequence numbers are not ours
        self._sequence = 0
        self._boots: int | None = None

    def hello(self) -> Hello:
        """Return what the chip says of itself. Raises ChipUnavailableError."""
        return to_hello(self.ask(Command.HELLO, self._host))

    def ask(self, command: Command, payload: bytes = b"") -> bytes:
        """Return the answer. Raises ChipUnavailableError, and ChipError if the chip refuses."""
        request, pause = self._next(command, payload), self._settings.pause_s
        until, tried = time.monotonic() + self._settings.request_s, 0
        while True:
            tried += 1
            try:
                return self._exchange(self._connected(until), request, until)
            except (OSError, EOFError, GarbledError) as error:
                self.close()
                last = str(error) or type(error).__name__
            if tried == self._settings.tries or time.monotonic() + pause >= until:
                break
            time.sleep(pause)
            pause *= 2
        reason = f"no answer to {command.name} from {self._place} after {tried} tries ({last})"
        raise ChipUnavailableError(self._chip_id, reason)

    def close(self) -> None:
        """Close the line; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    @property
    def _place(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _next(self, command: Command, payload: bytes) -> Frame:
        """Return a request with a sequence number of its own."""
        self._sequence = (self._sequence + 1) % 2**16
        return Frame(command, self._sequence, payload)

    def _connected(self, until: float) -> socket.socket:
        """Return the open line; one that was opened anew is kept only if all went well on it."""
        if self._socket is None:
            address = (self._settings.host, self._settings.port)
            with ExitStack() as stack:
                opened = socket.create_connection(address, self._left(until))
                stack.callback(opened.close)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._greet(partial(self._ask_once, opened, until))
                stack.pop_all()
            self._socket = opened
        return self._socket

    def _greet(self, ask: Ask) -> None:
        """Check who answers, and restore a chip that has booted since it was asked last."""
        hello = to_hello(ask(Command.HELLO, self._host))
        if hello.serial != self._settings.serial:
            reason = f"{self._place} is chip '{hello.serial}', not '{self._settings.serial}'"
            raise ChipUnavailableError(self._chip_id, reason)
        if self._boots not in (None, hello.boots):
            self._restore(ask)
        self._boots = hello.boots

    def _ask_once(
        self, opened: socket.socket, until: float, command: Command, payload: bytes
    ) -> bytes:
        """Ask on a line that is being opened, without another try."""
        return self._exchange(opened, self._next(command, payload), until)

    def _exchange(self, opened: socket.socket, request: Frame, until: float) -> bytes:
        """Send a request and return its answer, in the time that one answer may take."""
        until = time.monotonic() + self._left(until)
        opened.settimeout(self._left(until))
        opened.sendall(to_bytes(REQUEST, request))
        answer = read_frame(partial(self._receive, opened, until), ANSWER)
        if answer.sequence != request.sequence:
            raise GarbledError(
                f"the answer is to request {answer.sequence}, not {request.sequence}"
            )
        if answer.code != Status.DONE:
            said = answer.payload.decode(errors="replace")
            raise ChipError(f"Chip {self._chip_id} refused {Command(request.code).name}: {said}.")
        return answer.payload

    def _receive(self, opened: socket.socket, until: float, count: int) -> bytes:
        """Read exactly so many bytes. Raises EOFError where the line is cut, and TimeoutError."""
        parts = bytearray()
        while len(parts) < count:
            opened.settimeout(self._left(until))
            with suppress(TimeoutError):  # the loop says so, with our limit
                part = opened.recv(count - len(parts))
                if not part:
                    raise EOFError("the line was cut")
                parts += part
        return bytes(parts)

    def _left(self, until: float) -> float:
        """Return the seconds that an answer may still take. Raises TimeoutError if none."""
        left = min(until - time.monotonic(), self._settings.answer_s)
        if left <= 0:
            limit = min(self._settings.answer_s, self._settings.request_s)
            raise TimeoutError(f"not answered within {limit:g} s")
        return left
