"""The serial chip of the examples: its driver can be imported, its firmware is a process."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).parents[1] / "examples" / "drivers" / "serial_chip"
SERIAL = "SN-0007"


@contextmanager
def firmware(*options: str, serial: str = SERIAL) -> Iterator[int]:
    """Play the firmware of a chip, with its faults; yield the port."""
    command = [sys.executable, "-m", "serial_chip.firmware", "--serial", serial, *options]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


@contextmanager
def serial_chip(port: int, **settings: Any) -> Iterator[Any]:
    """Open the driver at a port, and close it."""
    if str(PROJECT) not in sys.path:
        sys.path.append(str(PROJECT))
    from serial_chip.driver import make_chip

    chip = make_chip("bench-1", {"port": port, "serial": SERIAL} | settings)
    yield chip
    chip.close()
