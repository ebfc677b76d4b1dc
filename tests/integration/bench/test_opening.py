"""A driver is opened in a process of its own: what it says is checked, its faults are named."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from service.bench.drivers import Driver
from service.bench.opening import Opened, open_in_child
from service.bench.opening_child import open_and_close
from service.request_errors import DriverFailedError

SOURCE = """
import ctypes, os, time
from ltl_core.chip import ChipInfo, Observable

INFO = ChipInfo("sn-7", "lab", 8, 8, 2, 7, -8, 7, 0.1, frozenset(Observable), 1e-6, None)

class Chip:
    info = INFO
    def __init__(self, file=None): self.file = file
    def ask(self, *_): raise NotImplementedError
    place = program = trim = run = probe = settle = now = ask
    def close(self):
        if self.file: open(self.file, "a").write("closed ")

class Mute(Chip):
    now = None

class Boastful(Chip):
    info = INFO._replace(tiles=-1)

class Wordy(Chip):
    info = {"model": "lab"}

def make(chip_id, settings): return Chip(settings.get("file"))
def mute(chip_id, settings): return Mute()
def boastful(chip_id, settings): return Boastful()
def wordy(chip_id, settings): return Wordy()
def unplugged(chip_id, settings): open("/dev/ttyNONE")
def quits(chip_id, settings): raise SystemExit(2)
def hangs(chip_id, settings): time.sleep(60)
def crashes(chip_id, settings): ctypes.string_at(0)
def leaves(chip_id, settings): os._exit(3)
def killed(chip_id, settings): os.kill(os.getpid(), 9)
def interrupted(chip_id, settings): os.kill(os.getpid(), 35)
"""
NAME = "a_lab_driver"


def line_of(start: str) -> int:
    return next(n for n, line in enumerate(SOURCE.splitlines(), 1) if line.startswith(start))


@pytest.fixture
def driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Driver]:
    """A module of drivers, each good or bad in its own way, by the name of its factory."""
    (tmp_path / f"{NAME}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    return lambda factory: Driver("lab", NAME, factory)


def fault(call: Callable[[], Any]) -> DriverFailedError:
    with pytest.raises(DriverFailedError) as caught:
        call()
    return caught.value


def test_a_driver_says_what_its_chip_is_and_is_closed(
    driver: Callable[[str], Driver], tmp_path: Path
) -> None:
    file = tmp_path / "closed"
    said = open_in_child(Opened(driver("make"), "c-1", {"file": str(file)}), 20.0)
    assert (said["model"], said["tiles"]) == ("lab", 2)
    assert file.read_text() == "closed "


@pytest.mark.parametrize(
    ("factory", "reason", "start"),
    [
        ("hangs", "it did not open within 1 s", "def hangs"),
        ("crashes", "its process was killed by signal 11 (Segmentation fault)", "def crashes"),
        ("leaves", "its process ended with exit code 3", None),
        ("killed", "its process was killed by signal 9 (Killed)", None),
        ("interrupted", "its process was killed by signal 35 (", None),  # Python has no name for it
        ("unplugged", "FileNotFoundError", "def unplugged"),
    ],
)
def test_a_process_without_an_answer_is_named_with_its_line(
    driver: Callable[[str], Driver], tmp_path: Path, factory: str, reason: str, start: str | None
) -> None:
    limit_s = 1.0 if factory == "hangs" else 20.0
    error = fault(lambda: open_in_child(Opened(driver(factory), "c-1", {}), limit_s))
    assert error.reason.startswith(reason)
    if start is not None:
        assert (error.file, error.line) == (str(tmp_path / f"{NAME}.py"), line_of(start))
        assert f"({factory}, {error.file}, line {error.line})" in str(error)


@pytest.mark.parametrize(
    ("factory", "reason", "start"),
    [
        ("mute", "its Mute has no now", "class Mute"),
        ("boastful", "has no tiles", "class Boastful"),
        ("wordy", "`info` of its Wordy is no ChipInfo but dict", "class Wordy"),
        ("quits", "SystemExit: 2", "def quits"),
    ],
)
def test_a_driver_that_is_none_is_refused_with_its_line(
    driver: Callable[[str], Driver], factory: str, reason: str, start: str
) -> None:
    error = fault(lambda: open_and_close(driver(factory), "c-1", {}))
    assert reason in error.reason
    assert (Path(str(error.file)).name, error.line) == (f"{NAME}.py", line_of(start))


@pytest.mark.parametrize(
    ("source", "reason", "line"),
    [
        ("import no_such_package\n", "ModuleNotFoundError: No module named 'no_such_package'", 1),
        ("x = 1\ndef make(:\n", "SyntaxError", 2),
        ("x = 1\n", "AttributeError: module 'a_lab_driver' has no attribute 'make'", None),
    ],
)
def test_a_driver_that_cannot_be_imported_is_named_with_its_line(
    driver: Callable[[str], Driver], tmp_path: Path, source: str, reason: str, line: int | None
) -> None:
    (tmp_path / f"{NAME}.py").write_text(source)
    error = fault(driver("make").load)
    assert error.reason.startswith(f"it cannot be imported: {reason}")
    assert error.line == line
