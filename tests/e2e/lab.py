"""A service as a person starts it, in a process of its own, and a network small enough for it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec
from service.client.sdk import Tandemcal
from service.client.teachers import Splits
from service.client.tensors import Samples

START_WITHIN = 90.0  # s
SETTINGS = {"OMP_NUM_THREADS": "1", "TANDEMCAL_QUEUE_POLL_S": "0.1"}  # jobs are started at once
NETWORK = NetworkSpec(
    input_shape=(4,),
    layers=(
        Linear(name="hidden", in_features=4, out_features=12, ceiling=2.0),
        Linear(name="readout", in_features=12, out_features=3),
    ),
)


class Running(NamedTuple):
    """A service that answers."""

    url: str
    key: str
    process: subprocess.Popen[str]

    def client(self) -> Tandemcal:
        return Tandemcal(self.url, self.key)


@contextmanager
def running(data_dir: Path, *arguments: str) -> Iterator[Running]:
    """`tandemcal up` on a free port, ended by SIGTERM; it must then exit cleanly."""
    command = [sys.executable, "-m", "service.cli", "up", "--port", "0", *arguments]
    environment = os.environ | SETTINGS | {"TANDEMCAL_DATA_DIR": str(data_dir)}
    with started(command, environment) as service:
        yield service


@contextmanager
def started(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[Running]:
    """A service that this command starts, in the data folder that the environment names."""
    data_dir = Path(environment["TANDEMCAL_DATA_DIR"])
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        url = _address(process)
        wait_until_ready(url)
        yield Running(url, (data_dir / "key").read_text().strip(), process)
    finally:
        process.terminate()
        code = process.wait(30)
        if process.stdout is not None:
            process.stdout.close()
    assert code in (0, -15), f"the service exited with {code}"


def wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + START_WITHIN
    while time.monotonic() < deadline:
        if httpx.get(f"{url}/readyz").is_success:
            return
        time.sleep(0.05)
    raise TimeoutError(url)


def blobs(count: int, seed: int, spread: float = 0.1) -> Samples:
    """Three classes of points, well apart unless their spread says otherwise."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    centres = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0.5], [0, 0, 1, 0.5]])
    inputs = (centres[labels] + rng.normal(0, spread, (count, 4))).clip(0, 1)
    return Samples(inputs.astype(np.float32), labels)


def teacher_weights() -> dict[str, np.ndarray]:
    """Every hidden neuron prefers one class, and the readout knows which."""
    prefers = np.eye(3)[np.arange(12) % 3]
    hidden = np.zeros((12, 4))
    hidden[:, :3] = 1.5 * prefers - 0.2
    return {
        "hidden.weight": hidden.astype(np.float32),
        "hidden.bias": np.zeros(12, np.float32),
        "readout.weight": prefers.T.astype(np.float32),
        "readout.bias": np.zeros(3, np.float32),
    }


def golden_student(client: Tandemcal, spread: float = 0.1) -> str:
    """The id of a student of the small teacher, for blobs of this spread."""
    teacher = client.teachers.upload("blobs", NETWORK, teacher_weights())
    splits = Splits(blobs(256, 1, spread), blobs(128, 2, spread))
    targets = client.target_sets.upload("blobs", teacher.id, splits)
    job = client.jobs.wait(client.jobs.train(targets.id).id, timeout=120)
    assert job.status == "succeeded", job.reason
    return str(job.student_id)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Tandemcal answers at "):
            return line.removeprefix("Tandemcal answers at ").strip()
    raise AssertionError(f"the service ended with {process.wait()} before it answered")
