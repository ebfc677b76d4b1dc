"""The wheel in an environment of its own, outside the repository, with a driver of one file."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from ltl_core.settings import Budget, CalibrationSettings
from tests.e2e.lab import SETTINGS, golden_student, started

ROOT = Path(__file__).parents[2]
DRIVER = ROOT / "examples" / "drivers" / "one_file_chip"
CONTRACT = ("-m", "pytest", "-rs", "-p", "no:cacheprovider", "--pyargs", "tandemcal.testing")
BROKEN = """
from one_file_chip import OneFileChip

class BrokenChip(OneFileChip):
    def probe(self):
        raise OSError("the serial port is closed")

def make_chip(chip_id, settings):
    return BrokenChip(chip_id, 1)
"""


class Lab(NamedTuple):
    """An environment that holds two wheels, and the packages that Tandemcal needs."""

    folder: Path
    wheel: Path

    @property
    def environment(self) -> Mapping[str, str]:
        """The variables of its processes: nothing leads to the repository."""
        paths = {"PATH": f"{self.folder / 'venv' / 'bin'}:{os.environ['PATH']}"}
        data = SETTINGS | {"TANDEMCAL_DATA_DIR": str(self.folder / "data")}
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return kept | paths | data

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """A command of this environment, in its folder."""
        return subprocess.run(
            [self.folder / "venv" / "bin" / command[0], *command[1:]],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


def pip(*arguments: str | Path) -> None:
    """The installer of this environment, which needs no network for what it is asked here."""
    command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def built(project: Path, folder: Path) -> Path:
    """The wheel of a project."""
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, project)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Tandemcal and the driver installed from wheels; all else comes from this environment."""
    folder = tmp_path_factory.mktemp("lab")
    project = folder / "one_file_chip"
    shutil.copytree(DRIVER, project)
    wheels = [built(ROOT, folder / "tandemcal"), built(project, folder / "driver")]
    shutil.rmtree(project)
    venv.create(folder / "venv")
    python = folder / "venv" / "bin" / "python"
    pip("--python", python, "install", "--no-deps", "--no-index", *wheels)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "venv" / "lib" / version / "site-packages"
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return Lab(folder, wheels[0])


def test_the_wheel_holds_four_typed_packages_and_no_benchmarks(lab: Lab) -> None:
    names = set(zipfile.ZipFile(lab.wheel).namelist())
    packages = {"tandemcal", "ltl_core", "chip_sim", "service"}
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == packages
    assert {f"{package}/py.typed" for package in packages} <= names
    assert {"service/db/migrations/env.py", "service/cli/lab_script.py"} <= names


def test_nothing_comes_from_the_repository(lab: Lab) -> None:
    code = "import tandemcal, ltl_core, chip_sim, service; print(service.__file__)"
    assert lab.run("python", "-c", code).stdout.startswith(str(lab.folder))
    assert "No module named" in lab.run("python", "-c", "import benchmarks").stderr


def test_the_driver_keeps_the_contract_and_says_what_it_lacks(lab: Lab) -> None:
    done = lab.run("python", *CONTRACT, "--chip", "one_file_chip:make_chip")
    assert done.returncode == 0, done.stdout
    assert "failed" not in done.stdout
    for reason in ("no registers to tune", "no `write`", "no `iter_layers`"):
        assert f"the chip has {reason}" in done.stdout


def test_a_driver_that_raises_is_named_with_its_file_and_line(lab: Lab) -> None:
    (lab.folder / "broken_chip.py").write_text(BROKEN)
    done = lab.run("python", *CONTRACT, "-k", "probe", "--chip", "broken_chip:make_chip")
    assert done.returncode == 1
    assert "OSError: the serial port is closed" in done.stdout
    line = BROKEN.splitlines().index('        raise OSError("the serial port is closed")') + 1
    place = f"{lab.folder / 'broken_chip.py'}:{line}"
    sentence = f"Raised in the driver broken_chip:make_chip: BrokenChip.probe, {place}"
    assert sentence in done.stdout


def test_a_chip_of_the_driver_is_registered_and_calibrated(lab: Lab) -> None:
    command = [str(lab.folder / "venv" / "bin" / "tandemcal"), "up", "--port", "0"]
    with started(command, lab.environment) as service, service.client() as client:
        chip = client.chips.register_backend("lab chip", "one-file", {"seed": 1})
        assert chip.info["model"] == "one-file"  # the driver was opened
        settings = CalibrationSettings(batch=32, budget=Budget(samples=640), target_points=None)
        job = client.jobs.calibrate(chip.id, golden_student(client), settings)
        ended = client.jobs.wait(job.id, timeout=120)
        assert ended.status == "succeeded", ended.reason
        assert ended.spent is not None
        assert ended.spent["samples"] > 0
        assert ended.result is not None
        assert {"before", "after"} <= set(ended.result["accuracy"])
    for arguments in (["migrate"], ["backup", str(lab.folder / "kept")]):
        done = lab.run("tandemcal", *arguments)
        assert done.returncode == 0, done.stderr
