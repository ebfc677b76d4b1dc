"""Whatever ends the work of a job becomes its last message, with a reason for its reader."""

from pathlib import Path
from typing import Any

import pytest

from ltl_core.errors import SettingError
from ltl_core.settings import TrainingSettings
from service.artifacts import ArtifactStore
from service.jobs.kinds.context import JobContext, NoLink, cancelled
from service.jobs.kinds.main import do_job
from service.jobs.messages import (
    Checkpointed,
    Ended,
    ExecutorConfig,
    JobDescription,
    Logged,
    Progressed,
)
from service.states import JobStatus


class Recorder(NoLink):
    """A link that remembers what was sent."""

    def __init__(self) -> None:
        self.sent: list[Progressed | Logged | Checkpointed | Ended] = []

    def send(self, message: object) -> None:
        assert isinstance(message, Progressed | Logged | Checkpointed | Ended)
        self.sent.append(message)


def succeed(context: JobContext) -> Ended:
    for step in range(3):  # within half a second: the first and the last are sent
        context.send_progress({"step": step}, {})
    return Ended(status=JobStatus.SUCCEEDED, result={})


def cancel(context: JobContext) -> Ended:
    raise cancelled("it was called off", chip_state_sha256=context.description.job_id)


def refuse(context: JobContext) -> Ended:
    raise SettingError(f"{context.description.kind} cannot be done.")


def misread(context: JobContext) -> Ended:
    TrainingSettings.model_validate({"epochs": context.description.kind})
    raise AssertionError


def err(context: JobContext) -> Ended:
    raise ZeroDivisionError(context.description.kind)


def run_out(context: JobContext) -> Ended:
    raise OSError(context.description.request["number"], "the system's own words")


def done(work: str, root: Path, **request: Any) -> tuple[Ended, Recorder]:
    description = JobDescription(
        config=ExecutorConfig(artifacts_dir=str(root), threads=1),
        job_id="job",
        kind="made-up",
        work=f"{__name__}:{work}",
        attempt=1,
        request=request,
    )
    link = Recorder()
    return do_job(JobContext(ArtifactStore(root), link, description)), link


def test_the_last_progress_is_sent_before_the_end(tmp_path: Path) -> None:
    ended, link = done("succeed", tmp_path)
    assert ended.status == JobStatus.SUCCEEDED
    assert [one.progress["step"] for one in link.sent if isinstance(one, Progressed)] == [0, 2]


def test_cancelled_work_says_what_it_leaves_behind(tmp_path: Path) -> None:
    ended, _ = done("cancel", tmp_path)
    assert (ended.status, ended.reason) == (JobStatus.CANCELLED, "it was called off")
    assert ended.chip_state_sha256 == "job"


@pytest.mark.parametrize(
    ("work", "error", "reason"),
    [
        ("refuse", "SettingError", "made-up cannot be done."),
        ("misread", "ValidationError", "The job's settings cannot be read: epochs: "),
        ("err", "ZeroDivisionError", "An error inside Tandemcal ended the job: "),
    ],
)
def test_an_error_becomes_the_reason(tmp_path: Path, work: str, error: str, reason: str) -> None:
    ended, link = done(work, tmp_path)
    assert (ended.status, ended.error) == (JobStatus.FAILED, error)
    assert str(ended.reason).startswith(reason)
    traced = [one.line for one in link.sent if isinstance(one, Logged)]
    assert bool(traced) == (work == "err")  # only what nobody expected leaves its traceback
