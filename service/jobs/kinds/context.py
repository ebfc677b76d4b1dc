"""What a job's work is done with: stored blocks, the line to the parent, the chips."""

import time
from collections.abc import Mapping
from typing import Protocol

from ltl_core.packing import pack, unpack
from service.artifacts import ArtifactStore
from service.bench.driver.call_times import CallTime
from service.jobs.messages import Checkpointed, Ended, JobDescription, Json, Logged, Progressed

_PROGRESS_INTERVAL = 0.5  # s: at most two a second


class Link(Protocol):
    """The line to the parent."""

    def send(self, message: Progressed | Logged | Checkpointed | Ended) -> None: ...

    def cancelled(self) -> bool: ...

    def lease_held(self) -> bool: ...

    def pausing(self) -> bool: ...


class NoLink:
    """For work that nobody listens to, and nobody stops."""

    def send(self, message: object) -> None:
        del message

    def cancelled(self) -> bool:
        return False

    def lease_held(self) -> bool:
        return True

    def pausing(self) -> bool:
        return False


class Workbench:
    """Reports and stored blocks, in the words of the work."""

    def __init__(self, artifacts: ArtifactStore, link: Link, description: JobDescription) -> None:
        self.artifacts = artifacts
        self.link = link
        self.chip_backends: Mapping[str, str] = description.house.chip_backends
        self._job_id = description.job_id
        self._next_progress = 0.0
        self._held_back: Progressed | None = None

    def progress(
        self, progress: Json, spent: Json, call_times: Mapping[str, CallTime] | None = None
    ) -> None:
        """Tell it, or keep it until the last half second is over."""
        self._held_back = Progressed(
            progress=progress, spent=spent, call_times=dict(call_times or {})
        )
        if time.monotonic() >= self._next_progress:
            self.flush()

    def flush(self) -> None:
        """Tell what was kept back."""
        if self._held_back is not None:
            self.link.send(self._held_back)
            self._held_back = None
            self._next_progress = time.monotonic() + _PROGRESS_INTERVAL

    def log(self, line: str) -> None:
        """A line for the reader of the job's log."""
        self.link.send(Logged(line=line))

    def checkpoint(self, block: bytes, step: int, chip_state_sha256: str | None = None) -> None:
        """Store the block; a later attempt starts from it. The job's id makes it its alone."""
        self.flush()
        tensors, about = unpack(block)
        sha256 = self.artifacts.put(pack(tensors, about | {"job_id": self._job_id}))
        self.link.send(Checkpointed(sha256=sha256, step=step, chip_state_sha256=chip_state_sha256))
