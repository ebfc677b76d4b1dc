"""The module `service.client.job` for asyncio, written by `async_source`."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from pydantic import PrivateAttr

from service.client.aio.threads import Threads
from service.client.job import Job
from service.schemas.jobs import EventView, JobView

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class AsyncJob(JobView):
    """A job as it was when the service answered; its methods ask the service again."""

    _job: Job = PrivateAttr()
    _threads: Threads = PrivateAttr()

    @classmethod
    def of(cls, job: Job, threads: Threads) -> "AsyncJob":
        """Return the job of the client that blocks as one that is awaited."""
        return cls.model_construct(**dict(job)).bound_to(job, threads)

    def bound_to(self, job: Job, threads: Threads) -> "AsyncJob":
        """Return the job with the one that blocks, and the threads for its calls."""
        self._job, self._threads = job, threads
        return self

    async def refresh(self) -> "AsyncJob":
        """Return the job as it is now."""
        return AsyncJob.of(await self._threads.call(self._job.refresh), self._threads)

    async def wait(self, timeout: float | None = None, *, progress: bool = False) -> "AsyncJob":
        """Return the job once it has ended; with `progress`, a line says meanwhile what it does."""
        return AsyncJob.of(
            await self._threads.call(self._job.wait, timeout, progress=progress), self._threads
        )

    async def cancel(self) -> "AsyncJob":
        """Cancel the job: a waiting one at once, a running one after its current step."""
        return AsyncJob.of(await self._threads.call(self._job.cancel), self._threads)

    async def retry(self) -> "AsyncJob":
        """Submit the request of this job again, once it has ended, and return the new job."""
        return AsyncJob.of(await self._threads.call(self._job.retry), self._threads)

    async def log(self) -> str:
        """Return the log so far, one line an event."""
        return await self._threads.call(self._job.log)

    async def events(self, after: int = 0) -> AsyncIterator[EventView]:
        """Yield the events with numbers above `after`, until the job has ended."""
        async for one in self._threads.each(self._job.events, after):
            yield one

    async def plot(self) -> "Figure":
        """Draw accuracy and rate errors over the steps so far. Waits for a job that runs."""
        return await self._threads.call(self._job.plot)
