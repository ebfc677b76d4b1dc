"""`tandemcal up`, a person's way: a process, a port, a key, and jobs that really run."""

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from safetensors.numpy import load_file

from ltl_core.settings import Budget, CalibrationSettings
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from tests.e2e.lab import Running, golden_student, running


class Installation:
    """A data folder, and the service that runs on it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        self._open = ExitStack()
        self.service = self.start()

    def start(self) -> Running:
        """Start the service, as a person does."""
        self.service = self._open.enter_context(running(self.data_dir))
        return self.service

    def stop(self) -> None:
        """End the service by SIGTERM."""
        self._open.close()


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One service for all tests: a start takes seconds."""
    installation = Installation(tmp_path_factory.mktemp("up") / "data")
    yield installation
    installation.stop()


def up(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *arguments],
        env=os.environ | {"TANDEMCAL_DATA_DIR": str(data_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_chip_is_calibrated_and_its_weights_are_saved(
    installation: Installation, tmp_path: Path
) -> None:
    with installation.service.client() as client:
        student = golden_student(client)
        chip = client.chips.register("bench 1", preset="harsh", seed=5)
        settings = CalibrationSettings(batch=32, budget=Budget(samples=640), target_points=None)
        job = client.jobs.calibrate(chip.id, student, settings)
        emitted = [event.type for event in client.jobs.events(job.id)]
        ended = client.jobs.get(job.id)
        assert ended.status == "succeeded", ended.reason
        assert (emitted[0], emitted[-1]) == ("job.queued", "job.ended")
        assert emitted.count("job.ended") == 1
        assert ended.spent is not None
        assert 0 < ended.spent["samples"] <= 640
        assert client.jobs.log(job.id)
        for version in client.chips.weights(chip.id):
            path = client.chips.download_weights(chip.id, version.version, tmp_path / "weights")
            assert load_file(path)
            assert version.job_id == job.id


def test_the_key_is_needed_and_readable_by_its_owner_alone(installation: Installation) -> None:
    url = installation.service.url
    assert httpx.get(f"{url}/healthz").status_code == 200
    with Tandemcal(url, "tcal_wrong") as stranger, pytest.raises(TandemcalError) as raised:
        list(stranger.chips.list())
    assert raised.value.status == 401
    assert stat.S_IMODE((installation.data_dir / "key").stat().st_mode) == 0o600


def test_what_was_registered_is_there_after_a_restart_under_the_same_key(
    installation: Installation,
) -> None:
    first = installation.service
    with first.client() as client:
        client.chips.register("kept", preset="pcm", seed=1)
        names = [chip.name for chip in client.chips.list()]
    installation.stop()
    second = installation.start()
    with second.client() as client:
        assert second.key == first.key
        assert [chip.name for chip in client.chips.list()] == names
    assert "kept" in names


def test_a_port_that_is_taken_is_named_with_what_to_do(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        done = up(tmp_path, "up", "--port", str(port))
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "--port" in done.stderr


def test_migrating_twice_is_as_good_as_once(tmp_path: Path) -> None:
    for _ in range(2):
        done = up(tmp_path, "migrate")
        assert done.returncode == 0, done.stderr
        assert "up to date" in done.stdout
