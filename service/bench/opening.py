"""Opens a driver once, in a child process with a time limit: the chip's information comes back.

A driver that hangs or crashes ends its own process, and the line where it did is named.
"""

import json
import os
import re
import signal
import subprocess  # nosec B404 # a driver is opened in a process of its own
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from service.bench.driver_lines import top_package
from service.bench.drivers import Driver
from service.bench.opening_child import ANSWER, REQUEST, TRACE
from service.request_errors import DriverFailedError, DriverLine

# The path of imports is that of this process, as it is in the processes of jobs.
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from service.bench.opening_child import main; main(sys.argv[1])"
)
_SPARE = 5.0  # s in which the child starts, and after the limit ends itself and leaves its trace
_POLL = 0.02  # s
_ANSWER_MAX = 2**16  # bytes
_FRAME = re.compile(
    r'^  File "(?P<file>.+)", line (?P<line>\d+) in (?P<function>.+)$', re.MULTILINE
)


class Opened(NamedTuple):
    """What a driver is opened with."""

    driver: Driver
    chip_id: str
    settings: Mapping[str, Any]


def open_in_child(asked: Opened, limit_s: float) -> dict[str, Any]:
    """Open a driver and close it; return its chip's information as JSON.

    Raises DriverFailedError if the driver cannot be imported, raises, gives information that no
    chip may give, crashes, or takes longer than `limit_s`.
    """
    with tempfile.TemporaryDirectory(prefix="tandemcal-driver-") as name:
        folder = Path(name)
        request = asked._asdict() | {"limit_s": limit_s}
        (folder / REQUEST).write_text(json.dumps(request))
        code = _run(folder, limit_s)
        return _read(folder, asked.driver, code, limit_s)


def _run(folder: Path, limit_s: float) -> int | None:
    """Run the child and return its exit code, None if it had to be killed.

    Nothing of its process group is left.
    """
    process = subprocess.Popen(  # nosec B603 # no shell; the program is written above
        [sys.executable, "-P", "-c", _PROGRAM, str(folder), json.dumps(sys.path)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        ended = _has_ended(process.pid, time.monotonic() + limit_s + _SPARE)
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # it is not reaped yet: its group is its own
        code = process.wait()
    return code if ended else None


def _has_ended(pid: int, until: float) -> bool:
    """Wait for the end of a child and leave it to be reaped; return False if it goes on."""
    flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
    while os.waitid(os.P_PID, pid, flags) is None:
        if time.monotonic() >= until:
            return False
        time.sleep(_POLL)
    return True


def _read(folder: Path, driver: Driver, code: int | None, limit_s: float) -> dict[str, Any]:
    """Return the information in the answer. Raises DriverFailedError if there is none."""
    trace = _text(folder / TRACE)
    try:
        answer = json.loads(_text(folder / ANSWER))
        if "info" in answer:
            return dict(answer["info"])
        place = DriverLine(*answer["place"])
        raise DriverFailedError(driver.name, str(answer["reason"]), place if place.file else None)
    except (ValueError, KeyError, TypeError):
        reason = _how_it_ended(code, trace, limit_s)
        raise DriverFailedError(driver.name, reason, _line_in(trace, driver)) from None


def _text(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as opened:
            return opened.read(_ANSWER_MAX)
    except FileNotFoundError:
        return ""


def _how_it_ended(code: int | None, trace: str, limit_s: float) -> str:
    if trace.startswith("Timeout") or code is None:
        return f"it did not open within {limit_s:g} s"
    if code < 0:
        name = signal.strsignal(-code) or "of no name"
        return f"its process was killed by signal {-code} ({name})"
    return f"its process ended with exit code {code}"


def _line_in(trace: str, driver: Driver) -> DriverLine | None:
    """Return the innermost line of the driver in a trace of `faulthandler`."""
    places = _places(top_package(driver.module))
    for frame in _FRAME.finditer(trace):
        if frame["file"].startswith(places):
            return DriverLine(frame["function"], frame["file"], int(frame["line"]))
    return None


def _places(package: str) -> tuple[str, ...]:
    """Return the file of a module, or the folders of a package, without importing it."""
    try:
        spec = find_spec(package)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    folders = [f"{folder}{os.sep}" for folder in spec.submodule_search_locations or ()]
    return tuple(folders) or (str(spec.origin),)
