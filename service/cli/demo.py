"""`tandemcal demo`: starts a service, runs the lab script against it, and stops the service."""

import os
import signal
import subprocess  # nosec B404 # the demo starts the service and a script
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx
from rich.console import Console

from service.cli.environment import read_settings
from service.listening import PortTakenError, listen
from service.private_files import keep_private
from service.settings import Settings
from service.startup import prepare

_INSTALLED = Path(__file__).with_name("lab_script.py")
START_WITHIN = 90.0  # s
STOP_WITHIN = 20.0  # s
LOG_LINES = 20


class DemoError(Exception):
    """The demonstration could not be run."""


class _Running(NamedTuple):
    url: str
    process: subprocess.Popen[bytes]
    log: Path


def run_demo(console: Console) -> int:
    """Run the demonstration; return the exit code of the lab script. Raises DemoError."""
    if find_spec("sklearn") is None:
        raise DemoError(
            "The demonstration reads its digits from scikit-learn, which is not installed; "
            "install what it needs: pip install 'tandemcal[server,examples]'"
        )
    script = _script()
    settings = read_settings()
    keep_private(settings.data_dir)
    if (new_key := prepare(settings)) and sys.stdout.isatty():
        _say(console, f"A key was created; it is shown only once: {new_key}")
    with _service(settings, console) as service:
        _say(console, f"Tandemcal answers at {service.url}, with its data in {settings.data_dir}")
        environment = os.environ | {
            "TANDEMCAL_URL": service.url,
            "TANDEMCAL_KEY": settings.key_file.read_text().strip(),
        }
        code = subprocess.run(  # nosec B603 # no shell; the script is the demo's own
            [sys.executable, str(script)], env=environment, check=False
        ).returncode
    up = "tandemcal up" if script == _INSTALLED else "make up"
    _say(console, f"`{up}` serves the same data, with pages to look at.")
    return code


def _script() -> Path:
    """Return the path of the lab script: beside this file if installed, else among the examples."""
    checkout = Path(__file__).resolve().parents[2]
    return _INSTALLED if _INSTALLED.is_file() else checkout / "examples" / "lab_script.py"


@contextmanager
def _service(settings: Settings, console: Console) -> Iterator[_Running]:
    service = _start(settings)
    try:
        _wait_until_ready(service)
        yield service
    finally:
        _stop(service, console)


def _start(settings: Settings) -> _Running:
    port = _free_port(settings)
    log = settings.data_dir / "service.log"
    command = [sys.executable, "-m", "service.cli", "up", "--host", settings.host]
    with log.open("ab") as output:
        process = subprocess.Popen(  # nosec B603 # no shell; the command is written above
            [*command, "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C interrupts the script alone
        )
    return _Running(f"http://{settings.host}:{port}", process, log)


def _wait_until_ready(service: _Running) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        if service.process.poll() is not None:
            raise DemoError(f"The service did not start.\n{_tail(service.log)}")
        if _is_ready(service.url):
            return
        time.sleep(0.1)
    raise DemoError(f"The service was not ready after {START_WITHIN:.0f} s.\n{_tail(service.log)}")


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=2.0).is_success
    except httpx.TransportError:
        return False


def _stop(service: _Running, console: Console) -> None:
    service.process.send_signal(signal.SIGTERM)
    try:
        service.process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        _say(console, f"The service did not stop within {STOP_WITHIN:.0f} s and was killed.")
        service.process.kill()
        service.process.wait()


def _free_port(settings: Settings) -> int:
    """Return the configured port if it is free, else any free port."""
    try:
        listener = listen(settings.host, settings.port)
    except PortTakenError:
        listener = listen(settings.host, 0)
    with listener:
        return int(listener.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-LOG_LINES:]
    return "\n".join([*lines, f"(the whole log: {log})"])


def _say(console: Console, sentence: str) -> None:
    console.print(sentence, highlight=False, markup=False, soft_wrap=True)
