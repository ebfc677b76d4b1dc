"""The line to the chip: time-outs, retries, and who answers at its end."""

import secrets
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from serial_chip.protocol import (
    ANSWER,
    HELLO,
    REQUEST,
    Command,
    Frame,
    GarbledError,
    Status,
    read_frame,
    to_bytes,
)
from tandemcal.backend import ChipError, ChipUnavailableError

Ask = Callable[[Command, bytes], bytes]


class LineSettings(NamedTuple):
    """Where the chip is, which one it is, and how long it may take."""

    port: int
    serial: str
    host: str = "127.0.0.1"
    answer_s: float = 5.0  # for an answer
    tries: int = 4
    pause_s: float = 0.05  # before the second try; doubled each time


class Line:
    """Asks the chip, again where the line fails; nothing is done twice.

    `restore` gets a function that asks, when the chip has booted since it was asked last.
    """

    def __init__(
        self, chip_id: str, settings: LineSettings, restore: Callable[[Ask], None]
    ) -> None:
        self._chip_id, self._settings, self._restore = chip_id, settings, restore
        self._socket: socket.socket | None = None
        self._host = secrets.token_bytes(8)  # another host's sequence numbers are not ours
        self._sequence = 0
        self._boots: int | None = None

    def ask(self, command: Command, payload: bytes = b"") -> bytes:
        """Return the answer. Raises ChipUnavailableError, and ChipError if the chip refuses."""
        self._sequence = (self._sequence + 1) % 2**16
        sequence, pause, last = self._sequence, self._settings.pause_s, ""
        for tried in range(self._settings.tries):
            if tried:
                time.sleep(pause)
                pause *= 2
            try:
                self._connect()
                return self._exchange(command, payload, sequence)
            except (OSError, EOFError, GarbledError) as error:
                self.close()
                last = str(error) or type(error).__name__
        reason = f"no answer to {command.name} from {self._place} after {tried + 1} tries ({last})"
        raise ChipUnavailableError(self._chip_id, reason)

    def close(self) -> None:
        """Close the line; the next request opens it again."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    @property
    def _place(self) -> str:
        return f"{self._settings.host}:{self._settings.port}"

    def _connect(self) -> None:
        """Open the line, check who answers, and restore a chip that has booted."""
        if self._socket is not None:
            return
        address = (self._settings.host, self._settings.port)
        self._socket = socket.create_connection(address, self._settings.answer_s)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        serial, _, boots, *_ = HELLO.unpack(self._own(Command.HELLO, self._host))
        found = serial.rstrip(b"\0").decode(errors="replace")
        if found != self._settings.serial:
            self.close()
            reason = f"{self._place} is chip '{found}', not '{self._settings.serial}'"
            raise ChipUnavailableError(self._chip_id, reason)
        if self._boots not in (None, boots):
            self._restore(self._own)
        self._boots = boots

    def _own(self, command: Command, payload: bytes) -> bytes:
        """Ask on the open line, without another try."""
        self._sequence = (self._sequence + 1) % 2**16
        return self._exchange(command, payload, self._sequence)

    def _exchange(self, command: Command, payload: bytes, sequence: int) -> bytes:
        if self._socket is None:
            raise EOFError("the line is closed")
        self._socket.sendall(to_bytes(REQUEST, Frame(command, sequence, payload)))
        answer = read_frame(self._receive, ANSWER)
        if answer.sequence != sequence:
            raise GarbledError(f"the answer is to request {answer.sequence}, not {sequence}")
        if answer.code != Status.DONE:
            said = answer.payload.decode(errors="replace")
            raise ChipError(f"Chip {self._chip_id} refused {command.name}: {said}.")
        return answer.payload

    def _receive(self, count: int) -> bytes:
        """Read exactly so many bytes. Raises EOFError where the line is cut, and TimeoutError."""
        assert self._socket is not None
        parts, until = bytearray(), time.monotonic() + self._settings.answer_s
        while len(parts) < count:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"not answered within {self._settings.answer_s:g} s")
            self._socket.settimeout(left)
            with suppress(TimeoutError):  # the loop says so, with our limit
                part = self._socket.recv(count - len(parts))
                if not part:
                    raise EOFError("the line was cut")
                parts += part
        return bytes(parts)
