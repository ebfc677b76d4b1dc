"""The client of the service for asyncio. Its other modules are written from those that block."""

from types import TracebackType

from service.client.aio.audit import AsyncAudit
from service.client.aio.chips import AsyncChips
from service.client.aio.jobs import AsyncJobs
from service.client.aio.keys import AsyncKeys
from service.client.aio.teachers import AsyncStudents, AsyncTargetSets, AsyncTeachers
from service.client.aio.threads import Threads
from service.client.aio.webhooks import AsyncWebhooks
from service.client.sdk import Tandemcal
from service.client.transport import Retry
from service.schemas.resources import HealthView


class AsyncTandemcal:
    """The client of one service for asyncio.

    async with AsyncTandemcal("http://127.0.0.1:8765", key) as lab:
        jobs = [await lab.jobs.calibrate(chip, student) for chip in chips]
        ended = await asyncio.gather(*(job.wait() for job in jobs))
    """

    def __init__(
        self,
        base_url: str,
        key: str,
        *,
        timeout: float = 30.0,
        retry: Retry | None = None,
        parallel: int = 64,
    ) -> None:
        """`parallel` requests are in progress at most; others wait for one of them to end."""
        self._client = Tandemcal(base_url, key, timeout=timeout, retry=retry)
        self._threads = Threads(parallel)
        self.jobs = AsyncJobs(self._client.jobs, self._threads)
        self.teachers = AsyncTeachers(self._client.teachers, self._threads)
        self.target_sets = AsyncTargetSets(self._client.target_sets, self._threads)
        self.students = AsyncStudents(self._client.students, self._threads)
        self.chips = AsyncChips(self._client.chips, self._threads)
        self.keys = AsyncKeys(self._client.keys, self._threads)
        self.audit = AsyncAudit(self._client.audit, self._threads)
        self.webhooks = AsyncWebhooks(self._client.webhooks, self._threads)

    async def health(self) -> HealthView:
        """Return the state and the version of the service."""
        return await self._threads.call(self._client.health)

    async def close(self) -> None:
        """Close the connections."""
        self._threads.close()
        self._client.close()

    async def __aenter__(self) -> "AsyncTandemcal":
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
