"""The firmware of the chip, played by a process: it can be slow, and its line can fail.

    python -m serial_chip.firmware --serial SN-0007 --port 7007 --cut-every 50

Cells, clock and counters outlive a reboot; registers do not. One host is connected at a time.
"""

import argparse
import contextlib
import socket
import struct
import sys
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from serial_chip.protocol import (
    ANSWER,
    COUNTERS,
    HOST_BYTES,
    REQUEST,
    RUN,
    SLOT,
    WRITE,
    Command,
    Frame,
    GarbledError,
    Hello,
    Status,
    pack_codes,
    read_frame,
    to_bytes,
    unpack_codes,
)

SLOTS, COLUMNS, ROWS = 8, 64, 256
TIME_STEP_NS, WRITE_NS = 1_000_000, 1_000
GAIN_ERROR, THRESHOLD_ERROR, NOISE = 0.2, 0.3, 0.02  # relative; of the threshold
BIAS_LSB = 1 / 128  # of the threshold


class Faults(NamedTuple):
    """What goes wrong: every so many requests, or at one write; zero is never."""

    slow_s: float = 0.0  # before each answer
    cut_every: int = 0  # the line is cut in the middle of the answer
    garble_every: int = 0  # one byte of the answer is another
    reboot_at_write: int = 0  # half of this write is done


class RebootedError(Exception):
    """The chip lost power."""


class Registers(NamedTuple):
    """The registers of one slot."""

    columns: int
    rows: int
    threshold: float
    decay: float
    full_scale: float
    is_readout: bool
    bias: NDArray[np.int16]


class Chip:
    """Eight arrays of 64 columns and 256 rows, each with its neurons."""

    def __init__(self, serial: str, faults: Faults) -> None:
        self._serial, self._faults = serial, faults
        made = np.random.default_rng(int.from_bytes(serial.encode(), "little"))
        self._gain = 1 + GAIN_ERROR * made.standard_normal((SLOTS, COLUMNS, ROWS))
        spread = THRESHOLD_ERROR * made.standard_normal((SLOTS, COLUMNS))
        self._threshold = (1 + spread).clip(0.5)
        self._noise = np.random.default_rng(0)
        self._codes = np.zeros((SLOTS, COLUMNS, ROWS), np.int8)
        self._registers: dict[int, Registers] = {}
        self._network = bytes(16)
        self._clock_ns = self._written = self._writes = 0
        self._boots = 1

    def reboot(self) -> None:
        """Lose what is in registers."""
        self._registers = {}
        self._boots += 1

    def do(self, command: int, payload: bytes) -> bytes:
        """Do what a request asks. Raises ValueError with a sentence, and RebootedError."""
        try:
            return bytes(getattr(self, f"_{Command(command).name.lower()}")(payload))
        except struct.error as error:
            raise ValueError(f"the payload is too short: {error}") from error

    def _hello(self, payload: bytes) -> bytes:
        if len(payload) != HOST_BYTES:
            raise ValueError(f"HELLO takes {HOST_BYTES} bytes that name the host")
        who = (self._serial, "serial-4bit", self._boots)
        return Hello(*who, SLOTS, ROWS, COLUMNS, self._network).to_bytes()

    def _counters(self, _payload: bytes) -> bytes:
        return COUNTERS.pack(self._clock_ns, self._written)

    def _place(self, payload: bytes) -> bytes:
        self._codes[:] = 0
        self._registers = {}
        self._network = payload[:16]
        return b""

    def _configure(self, payload: bytes) -> bytes:
        slot, columns, rows, threshold, decay, full_scale, is_readout = SLOT.unpack(payload)
        _within(slot, columns, rows)
        bias = np.zeros(columns, np.int16)
        given = (columns, rows, threshold, decay, full_scale, is_readout)
        self._registers[slot] = Registers(*given, bias)
        return b""

    def _write(self, payload: bytes) -> bytes:
        slot, first, columns, rows = WRITE.unpack_from(payload)
        _within(slot, first + columns, rows)
        wanted = unpack_codes(payload[WRITE.size :], columns, rows)
        self._writes += 1
        if self._writes == self._faults.reboot_at_write:
            self._burn(slot, first, wanted[: columns // 2])
            raise RebootedError
        self._burn(slot, first, wanted)
        return b""

    def _burn(self, slot: int, first: int, wanted: NDArray[np.int8]) -> None:
        cells = self._codes[slot, first : first + len(wanted), : wanted.shape[1]]
        changed = int((cells != wanted).sum())
        cells[:] = wanted
        self._written += changed
        self._clock_ns += changed * WRITE_NS

    def _read(self, payload: bytes) -> bytes:
        slot, first, columns, rows = WRITE.unpack(payload)
        _within(slot, first + columns, rows)
        return pack_codes(self._codes[slot, first : first + columns, :rows])

    def _bias(self, payload: bytes) -> bytes:
        registers = self._registers_of(payload[0])
        bias = np.frombuffer(payload[1:], "<i2")
        self._registers[payload[0]] = registers._replace(bias=bias)
        return b""

    def _run(self, payload: bytes) -> bytes:
        slot, steps, vectors, samples, held, scale = RUN.unpack_from(payload)
        registers = self._registers_of(slot)
        shape = (1 if held else steps, vectors, registers.rows)
        inputs = np.frombuffer(payload[RUN.size :], np.int8).reshape(shape) * scale
        self._clock_ns += samples * steps * TIME_STEP_NS
        return self._fire(slot, np.broadcast_to(inputs, (steps, *shape[1:])))

    def _fire(self, slot: int, inputs: NDArray[np.float64]) -> bytes:
        """Return the spikes of every step by u' = decay u (1 - s) + sum + bias, or the sums."""
        of = self._registers[slot]
        weight = (self._codes * self._gain)[slot, : of.columns, : of.rows]
        noise = NOISE * of.threshold * self._noise.standard_normal((*inputs.shape[:2], of.columns))
        sums = (inputs @ weight.T + noise).clip(-of.full_scale, of.full_scale)
        sums += of.bias * BIAS_LSB * of.threshold
        if of.is_readout:
            return sums.cumsum(0).astype("<f4").tobytes()
        threshold = self._threshold[slot, : of.columns] * of.threshold
        membrane, fired = np.zeros_like(sums[0]), np.zeros(sums[0].shape, bool)
        spikes = np.empty(sums.shape, bool)
        for step, current in enumerate(sums):
            membrane = of.decay * membrane * ~fired + current
            spikes[step] = fired = membrane > threshold
        return np.packbits(spikes).tobytes()

    def _wait(self, payload: bytes) -> bytes:
        self._clock_ns += int.from_bytes(payload, "little")
        return b""

    def _registers_of(self, slot: int) -> Registers:
        if slot not in self._registers:
            raise ValueError(f"slot {slot} is not configured")
        return self._registers[slot]


def _within(slot: int, columns: int, rows: int) -> None:
    if slot >= SLOTS or columns > COLUMNS or rows > ROWS:
        raise ValueError(f"there are {SLOTS} slots of {COLUMNS} columns and {ROWS} rows")


class Firmware:
    """Answers one host after the other."""

    def __init__(self, chip: Chip, faults: Faults) -> None:
        self._chip, self._faults = chip, faults
        self._answers = 0
        self._last: Frame | None = None
        self._host = b""

    def serve(self, listener: socket.socket) -> None:
        """Serve hosts until the process ends."""
        while True:
            host, _ = listener.accept()
            with host, contextlib.suppress(OSError, EOFError, GarbledError):
                host.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._serve_host(host)

    def _serve_host(self, host: socket.socket) -> None:
        with host.makefile("rb") as stream:

            def receive(count: int) -> bytes:
                data = stream.read(count)
                if len(data) < count:
                    raise EOFError
                return data

            while True:
                request = read_frame(receive, REQUEST)
                try:
                    answer = self._answer(request)
                except RebootedError:
                    self._chip.reboot()
                    self._last = None
                    return
                self._send(host, to_bytes(ANSWER, answer))

    def _answer(self, request: Frame) -> Frame:
        if request.code == Command.HELLO and request.payload != self._host:
            self._host, self._last = request.payload, None
        if self._last is not None and request.sequence == self._last.sequence:
            return self._last
        try:
            payload = self._chip.do(request.code, request.payload)
            answer = Frame(Status.DONE, request.sequence, payload)
        except ValueError as error:
            answer = Frame(Status.REFUSED, request.sequence, str(error).encode())
        if request.code != Command.HELLO:  # it comes between a request and its repetition
            self._last = answer
        return answer

    def _send(self, host: socket.socket, data: bytes) -> None:
        time.sleep(self._faults.slow_s)
        self._answers += 1
        if _is_due(self._answers, self._faults.garble_every):
            data = data[:-1] + bytes([data[-1] ^ 0xFF])
        if _is_due(self._answers, self._faults.cut_every):
            host.sendall(data[: len(data) // 2])
            raise EOFError
        host.sendall(data)


def _is_due(count: int, every: int) -> bool:
    return every > 0 and count % every == 0


def main() -> None:
    """Print the port, and serve until the process is killed."""
    parser = argparse.ArgumentParser(description="Play the firmware of a chip.")
    parser.add_argument("--serial", default="SN-0001")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--slow-s", type=float, default=0.0)
    for name in ("--cut-every", "--garble-every", "--reboot-at-write"):
        parser.add_argument(name, type=int, default=0)
    given = vars(parser.parse_args())
    serial, port = given.pop("serial"), given.pop("port")
    faults = Faults(**given)
    with socket.create_server(("127.0.0.1", port)) as listener:
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()
        Firmware(Chip(serial, faults), faults).serve(listener)


if __name__ == "__main__":
    main()
