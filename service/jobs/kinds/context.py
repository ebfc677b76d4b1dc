"""The job context: what a job in its child process works with, and how cancelled work ends."""

import time
from collections.abc import Mapping
from typing import Protocol

from ltl_core.progress import Progress
from service.artifacts import ArtifactStore
from service.bench.driver.call_times import CallTime
from service.jobs.messages import (
    Checkpointed,
    Ended,
    ForParent,
    JobDescription,
    Json,
    Logged,
    Progressed,
)
from service.states import JobStatus

_PROGRESS_INTERVAL = 0.5  # s: at most two a second


class Link(Protocol):
    """The connection to the parent process."""

    def send(self, message: ForParent) -> None:
        """Send a message to the parent process."""
        ...

    def cancelled(self) -> bool:
        """Say whether the parent has asked to cancel the job."""
        ...

    def lease_held(self) -> bool:
        """Say whether the lease of the chip is still held."""
        ...

    def pausing(self) -> bool:
        """Say whether the parent has asked to pause after a checkpoint."""
        ...

    def agent_settings(self) -> Json | None:
        """Return where the parent last found the chip's agent, and ask again."""
        ...


class NoLink:
    """A link without a parent: nothing is sent anywhere, and nobody stops the work."""

    def send(self, message: object) -> None:
        """Drop the message."""
        del message

    def cancelled(self) -> bool:
        """Say that nobody has cancelled."""
        return False

    def lease_held(self) -> bool:
        """Say that the lease is held."""
        return True

    def pausing(self) -> bool:
        """Say that nobody has asked to pause."""
        return False

    def agent_settings(self) -> Json | None:
        """Say that nobody knows another address of the agent."""
        return None


class JobContext:
    """The world of a job's work: its description, the artifact store, its reports to the parent."""

    def __init__(self, artifacts: ArtifactStore, link: Link, description: JobDescription) -> None:
        self.artifacts = artifacts
        self.link = link
        self.description = description
        self._next_progress = 0.0
        self._held_back: Progressed | None = None

    def report(self, progress: Progress) -> None:
        """Report a step of work without a chip."""
        self.send_progress(*as_json(progress))

    def send_progress(
        self, progress: Json, spent: Json, call_times: Mapping[str, CallTime] | None = None
    ) -> None:
        """Send the progress, or hold it back until half a second has passed since the last one."""
        self._held_back = Progressed(
            progress=progress, spent=spent, call_times=dict(call_times or {})
        )
        if time.monotonic() >= self._next_progress:
            self.flush()

    def flush(self) -> None:
        """Send the progress that was held back."""
        if self._held_back is not None:
            self.link.send(self._held_back)
            self._held_back = None
            self._next_progress = time.monotonic() + _PROGRESS_INTERVAL

    def log(self, line: str) -> None:
        """Send a line for the reader of the job's log."""
        self.link.send(Logged(line=line))

    @property
    def owner(self) -> dict[str, str]:
        """Metadata for a checkpoint: the job's id makes the block this job's alone."""
        return {"job_id": self.description.job_id}

    def checkpoint(self, block: bytes, step: int, chip_state_sha256: str | None = None) -> None:
        """Store the block, packed with `owner`, from which a later attempt starts."""
        self.flush()
        sha256 = self.artifacts.put(block)
        self.link.send(Checkpointed(sha256=sha256, step=step, chip_state_sha256=chip_state_sha256))


class CancelledWorkError(Exception):
    """The job was cancelled between two steps; what it leaves behind stands in `ended`."""

    def __init__(self, ended: Ended) -> None:
        super().__init__(ended.reason)
        self.ended = ended


def cancelled(reason: str, *, chip_state_sha256: str | None = None) -> CancelledWorkError:
    """Make the error that is raised where the work stops."""
    return CancelledWorkError(
        Ended(
            status=JobStatus.CANCELLED,
            reason=reason,
            chip_state_sha256=chip_state_sha256,
        )
    )


def as_json(progress: Progress) -> tuple[Json, Json]:
    """Return the progress and what was spent, as the API shows them."""
    shown = progress._asdict()
    spent = shown.pop("spent")._asdict()
    rates = [[round(rate, 5) for rate in layer] for layer in progress.rates]
    return shown | {"rate_error": list(progress.rate_error), "rates": rates}, spent
