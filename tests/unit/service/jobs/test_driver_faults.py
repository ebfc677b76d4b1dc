"""A fault inside a driver ends a job with a reason that names the driver, its file and its line."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from service.artifacts import ArtifactStore
from service.bench.agent.chip_server import handle_verb
from service.bench.chip_ref import ChipRef
from service.bench.protocol.wire import Message, encode
from service.bench.registry import find_factory
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.kinds.main import do_job
from service.jobs.messages import ExecutorConfig, JobDescription

NAME = "a_faulty_lab"
SOURCE = """
from ltl_core.errors import CapacityError, ChipUnavailableError
from pydantic import BaseModel

class Codes(BaseModel):
    top: int

def call(service):
    return service()

class Chip:
    def __init__(self, chip_id, settings):
        self.kind = settings["kind"]

    def now(self):
        if self.kind == "off":
            raise ChipUnavailableError("c-1", "no answer in 2 s")
        if self.kind == "small":
            raise CapacityError(3, 2)
        if self.kind == "misread":
            Codes(top="seven")
        if self.kind == "full":
            raise OSError(28, "the lab's disk is full")
        return 1 / 0
"""
BACKENDS = {"lab": f"{NAME}:Chip"}


def work(context: JobContext) -> None:
    """The work of a job: it asks the chip for its clock."""
    chip = context.description.chip
    assert chip is not None
    find_factory(chip.backend, BACKENDS)(chip.chip_id, chip.settings).now()


def own_work(_context: JobContext) -> None:
    """Work with a fault of Tandemcal's own."""
    raise ZeroDivisionError


def own_shortage(_context: JobContext) -> None:
    """Work for which the service's own disk is full."""
    raise OSError(28, "full")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """The driver can be imported; gives the place of the line that begins so."""
    file = tmp_path / f"{NAME}.py"
    file.write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, NAME, raising=False)

    def named(start: str) -> str:
        lines = [line.strip() for line in SOURCE.splitlines()]
        number = next(n for n, line in enumerate(lines, 1) if line.startswith(start))
        return f"Chip.now, {file}, line {number}"

    return named


def reason(root: Path, kind: str, does: str = "work", backend: str = "lab") -> str:
    settings = {"kind": kind}
    chip = ChipRef(
        chip_id="c-1", backend=backend, settings=settings, state_sha256=None, idle_s=0.0, token=1
    )
    description = JobDescription(
        config=ExecutorConfig(artifacts_dir=str(root), threads=1, chip_backends=BACKENDS),
        job_id="job",
        kind="made-up",
        work=f"{__name__}:{does}",
        attempt=1,
        request={},
        chip=chip,
    )
    return str(do_job(JobContext(ArtifactStore(root), NoLink(), description)).reason)


@pytest.mark.parametrize(
    ("kind", "sentence", "start"),
    [
        ("any", "ZeroDivisionError: division by zero.", "return 1 / 0"),
        ("off", "Chip c-1 is unavailable: no answer in 2 s.", "raise ChipUnavailableError"),
        ("misread", "ValidationError: 1 validation error for Codes", "Codes(top="),
        ("full", "OSError: [Errno 28] the lab's disk is full.", "raise OSError"),
    ],
)
def test_a_job_names_the_driver_that_raised(
    place: Callable[[str], str], tmp_path: Path, kind: str, sentence: str, start: str
) -> None:
    said = reason(tmp_path, kind)
    assert said.startswith(sentence)
    assert said.endswith(f" Raised in the driver 'lab': {place(start)}.")


@pytest.mark.usefixtures("place")
def test_what_the_port_refuses_and_what_tandemcal_raises_names_no_driver(tmp_path: Path) -> None:
    assert reason(tmp_path, "small").startswith("The network needs 3 tiles")
    assert "driver" not in reason(tmp_path, "small")
    assert reason(tmp_path, "any", "own_work").startswith("An error inside Tandemcal")
    assert reason(tmp_path, "any", "own_shortage").startswith("the service lacks room")


def test_a_job_whose_driver_is_gone_ends_with_its_own_error(tmp_path: Path) -> None:
    found = reason(tmp_path, "any", "own_work", backend="gone")
    assert found.startswith("An error inside Tandemcal ended the job: ZeroDivisionError")


@pytest.mark.parametrize(
    ("kind", "sentence", "start"),
    [
        ("any", "now failed in the chip's agent (driver a_faulty_lab: ", "return 1 / 0"),
        ("off", "Chip c-1 is unavailable: no answer in 2 s (driver a_faulty_lab: ", "raise ChipU"),
    ],
)
def test_an_agent_names_its_driver(
    place: Callable[[str], str], kind: str, sentence: str, start: str
) -> None:
    chip = find_factory("lab", BACKENDS)("c-1", {"kind": kind})
    answer = handle_verb(chip, "now", encode(Message({})).whole())
    detail = json.loads(answer.body.whole())["detail"]
    assert detail.startswith(sentence + place(start))
