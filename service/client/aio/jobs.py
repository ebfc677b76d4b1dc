"""The module `service.client.jobs` for asyncio, written by `async_source`."""

import builtins
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from ltl_core.presets import PresetName
from ltl_core.settings import CalibrationSettings, TrainingSettings, TuneSettings
from service.client.aio.job import AsyncJob
from service.client.aio.threads import Threads
from service.client.jobs import Jobs, Queueing
from service.schemas.jobs import EventView
from service.states import OpenStatus


class AsyncJobs:
    """Submits jobs, which run in the service, and follows them."""

    def __init__(self, client: Jobs, threads: Threads) -> None:
        self._client, self._threads = client, threads

    async def train(
        self,
        target_set_id: str,
        settings: TrainingSettings | None = None,
        *,
        preset: PresetName | None = None,
        queueing: Queueing | None = None,
    ) -> "AsyncJob":
        """Train the golden student of a target set."""
        return AsyncJob.of(
            await self._threads.call(
                self._client.train, target_set_id, settings, preset=preset, queueing=queueing
            ),
            self._threads,
        )

    async def calibrate(
        self,
        chip_id: str,
        student_id: str,
        settings: CalibrationSettings | None = None,
        *,
        last_trims_after_s: float | None = None,
        passes_max: int = 1,
        queueing: Queueing | None = None,
    ) -> "AsyncJob":
        """Calibrate a chip to a golden student."""
        return AsyncJob.of(
            await self._threads.call(
                self._client.calibrate,
                chip_id,
                student_id,
                settings,
                last_trims_after_s=last_trims_after_s,
                passes_max=passes_max,
                queueing=queueing,
            ),
            self._threads,
        )

    async def tune(
        self,
        chip_id: str,
        student_id: str | None = None,
        settings: TuneSettings | None = None,
        *,
        registers_of: str | None = None,
        queueing: Queueing | None = None,
    ) -> "AsyncJob":
        """Tune the registers of a chip until its circuits are alike, before a calibration."""
        return AsyncJob.of(
            await self._threads.call(
                self._client.tune,
                chip_id,
                student_id,
                settings,
                registers_of=registers_of,
                queueing=queueing,
            ),
            self._threads,
        )

    async def evaluate(
        self,
        chip_id: str,
        student_id: str,
        *,
        passes_max: int = 1,
        queueing: Queueing | None = None,
    ) -> "AsyncJob":
        """Measure the accuracy of a chip as it is; `passes_max` is that of `calibrate`."""
        return AsyncJob.of(
            await self._threads.call(
                self._client.evaluate, chip_id, student_id, passes_max=passes_max, queueing=queueing
            ),
            self._threads,
        )

    async def probe(
        self, chip_id: str, *, passes_max: int = 1, queueing: Queueing | None = None
    ) -> "AsyncJob":
        """Measure how far a chip has drifted since its weights were published, without labels."""
        return AsyncJob.of(
            await self._threads.call(
                self._client.probe, chip_id, passes_max=passes_max, queueing=queueing
            ),
            self._threads,
        )

    async def submit(self, request: Mapping[str, Any]) -> "AsyncJob":
        """Submit a request as the HTTP API takes it, of any kind: `{"kind": "probe", ...}`."""
        return AsyncJob.of(await self._threads.call(self._client.submit, request), self._threads)

    async def find(self, word: str) -> "AsyncJob":
        """Return the job with this id or short id. Raises TandemcalError if there is none."""
        return AsyncJob.of(await self._threads.call(self._client.find, word), self._threads)

    async def get(self, job_id: str) -> "AsyncJob":
        """Return one job. Raises TandemcalError if there is no job of this id."""
        return AsyncJob.of(await self._threads.call(self._client.get, job_id), self._threads)

    async def list(
        self, *, status: str | None = None, kind: str | None = None, chip_id: str | None = None
    ) -> "AsyncIterator[AsyncJob]":
        """Yield jobs, newest first: all, or those of this status, kind or chip."""
        async for one in self._threads.each(
            self._client.list, status=status, kind=kind, chip_id=chip_id
        ):
            yield AsyncJob.of(one, self._threads)

    async def cancel(self, job_id: str) -> "AsyncJob":
        """Cancel a job: a waiting one at once, a running one after its current step."""
        return AsyncJob.of(await self._threads.call(self._client.cancel, job_id), self._threads)

    async def cancel_all(
        self,
        *,
        chip_id: str | None = None,
        status: Sequence[OpenStatus | str] | None = None,
        kind: str | None = None,
    ) -> builtins.list[str]:
        """Cancel all open jobs of a chip, of some statuses, of a kind; return their ids."""
        return await self._threads.call(
            self._client.cancel_all, chip_id=chip_id, status=status, kind=kind
        )

    async def retry(self, job_id: str) -> "AsyncJob":
        """Submit the request of a job that has ended again, as a new job."""
        return AsyncJob.of(await self._threads.call(self._client.retry, job_id), self._threads)

    async def log(self, job_id: str) -> str:
        """Return the log of a job so far, one line an event."""
        return await self._threads.call(self._client.log, job_id)

    async def follow(self, job_id: str, timeout: float | None = None) -> "AsyncIterator[AsyncJob]":
        """Yield the job each time it changes, for the last time when it has ended."""
        async for one in self._threads.each(self._client.follow, job_id, timeout):
            yield AsyncJob.of(one, self._threads)

    async def wait(self, job_id: str, timeout: float | None = None) -> "AsyncJob":
        """Return the job once it has ended. Raises TimeoutError after `timeout` seconds."""
        return AsyncJob.of(
            await self._threads.call(self._client.wait, job_id, timeout), self._threads
        )

    async def events(self, job_id: str, after: int = 0) -> AsyncIterator[EventView]:
        """Yield the events of a job with numbers above `after`, until the job has ended."""
        async for one in self._threads.each(self._client.events, job_id, after):
            yield one
