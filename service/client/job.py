"""A job that can be waited for, cancelled and drawn."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from pydantic import PrivateAttr

from service.formatting import percent
from service.schemas.jobs import EventView, JobView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@runtime_checkable
class JobActions(Protocol):
    """What a job asks of the client that returned it."""

    def follow(self, job_id: str, timeout: float | None = None) -> Iterator["Job"]:
        """Yield the job each time it changes."""
        ...

    def get(self, job_id: str) -> "Job":
        """Return the job as it is now."""
        ...

    def cancel(self, job_id: str) -> "Job":
        """Cancel the job."""
        ...

    def retry(self, job_id: str) -> "Job":
        """Submit its request again."""
        ...

    def log(self, job_id: str) -> str:
        """Return its log."""
        ...

    def events(self, job_id: str, after: int = 0) -> Iterator[EventView]:
        """Yield its events."""
        ...


class Job(JobView):
    """A job as it was when the service answered; its methods ask the service again.

    job = lab.jobs.calibrate("bench-3", golden.student_id).wait(progress=True)
    print(job.result["accuracy"])
    """

    _actions: JobActions = PrivateAttr()

    def bound_to(self, actions: JobActions) -> "Job":
        """Return the job with the client that its methods ask."""
        self._actions = actions
        return self

    def refresh(self) -> "Job":
        """Return the job as it is now."""
        return self._actions.get(self.id)

    def wait(self, timeout: float | None = None, *, progress: bool = False) -> "Job":
        """Return the job once it has ended; with `progress`, a line says meanwhile what it does.

        Raises TimeoutError after `timeout` seconds. A job that failed is returned like any other:
        see `status` and `reason`.
        """
        from rich.console import Console

        latest, console = self, Console(stderr=True)
        status = console.status(words_about(self)) if progress else nullcontext()
        with status as line:
            for latest in self._actions.follow(self.id, timeout):
                if line is not None:
                    line.update(words_about(latest))
        if progress:
            console.print(words_about(latest), highlight=False, markup=False)
        return latest

    def cancel(self) -> "Job":
        """Cancel the job: a waiting one at once, a running one after its current step."""
        return self._actions.cancel(self.id)

    def retry(self) -> "Job":
        """Submit the request of this job again, once it has ended, and return the new job."""
        return self._actions.retry(self.id)

    def log(self) -> str:
        """Return the log so far, one line an event."""
        return self._actions.log(self.id)

    def events(self, after: int = 0) -> Iterator[EventView]:
        """Yield the events with numbers above `after`, until the job has ended."""
        return self._actions.events(self.id, after)

    def plot(self) -> "Figure":
        """Draw accuracy and rate errors over the steps so far. Waits for a job that runs.

        Needs matplotlib: pip install 'tandemcal[plots]'.
        """
        from service.client.plots import draw_job

        return draw_job(self, list(self.events()))


def words_about(job: JobView) -> str:
    """Describe the state of a job in a few words."""
    progress = job.progress or {}
    if job.terminal:
        return f"{job.status}{'' if job.reason is None else f': {job.reason}'}"
    if job.status != "running" or not progress:
        return job.status.replace("_", " ")
    steps = f" {progress['step']}/{progress['steps']}" if progress.get("steps") else ""
    return f"{progress.get('phase', '')}{steps}{_accuracy(progress.get('accuracy'))}"


def _accuracy(share: Any) -> str:
    return f", {percent(share)}" if isinstance(share, int | float) else ""
