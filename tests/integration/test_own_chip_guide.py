"""The guide to chips, followed literally: its commands run, its blocks print what it says.

What `pip install` does is done by the path: the project's folder, and its entry point.
"""

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from service.client.chips import Chips
from service.client.jobs import Jobs
from tests.integration.test_sdk import transport
from tests.serial_chips import PROJECT, firmware
from tests.world import World

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "guides" / "your-own-chip.md"
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
PORT = "7007"  # of the guide; the test's firmware chooses one that is free


def blocks(*kinds: str) -> list[tuple[str, str]]:
    return [(kind, text) for kind, text in BLOCK.findall(GUIDE.read_text()) if kind in kinds]


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    """The firmware that the guide starts, at a port that is free."""
    (_, start), *_ = blocks("sh")
    command = shlex.split(start.splitlines()[-1].removesuffix("&"))
    assert command[:3] == ["python", "-m", "serial_chip.firmware"]
    given = dict(zip(command[3::2], command[4::2], strict=True))
    assert given.pop("--port") == PORT
    with firmware(serial=given.pop("--serial")) as port:
        assert not given
        yield str(port)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver's project, with the entry point that the guide shows."""
    (_, shown), *_ = blocks("toml")
    group = "tandemcal.chip_backends"
    points = tomllib.loads(shown)["project"]["entry-points"][group]
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["entry-points"]
    assert declared == {group: points}
    about = tmp_path / "serial_chip-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: serial-chip\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (about / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    for folder in (PROJECT, tmp_path):
        monkeypatch.syspath_prepend(folder)


def as_printed(text: str, port: str) -> str:
    """What a block printed, with the names that differ from one run to the next."""
    text = text.replace(f"{PROJECT}{os.sep}", "").replace(f":{port} ", f":{PORT} ")
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "CHIP", text)
    return re.sub(r"line \d+", "line LINE", text)


@pytest.mark.usefixtures("installed")
def test_every_block_of_the_guide_prints_what_stands_below_it(world: World, port: str) -> None:
    line = transport(world)
    names: dict[str, Any] = {
        "lab": SimpleNamespace(chips=Chips(line), jobs=Jobs(line)),
        "targets": SimpleNamespace(id=world.ready_targets()),
    }
    codes, outputs = blocks("python"), blocks("text")
    assert len(codes) == len(outputs) == 4
    for (_, code), (_, output) in zip(codes, outputs, strict=True):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code.replace(PORT, port), str(GUIDE), "exec"), names)
        assert as_printed(printed.getvalue(), port) == output


def test_the_contract_tests_of_the_guide_pass(port: str, tmp_path: Path) -> None:
    command = shlex.split(blocks("sh")[1][1].replace(PORT, port))
    assert command[0] == "pytest"
    paths = os.pathsep.join(map(str, (PROJECT, ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *command[1:]],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "the chip does not show membrane" in done.stdout
    assert "the chip has no registers to tune" in done.stdout
