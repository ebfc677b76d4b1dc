"""Jobs, listeners, polls and kills, all at the same time."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from itertools import cycle

import httpx
import psutil

from benchmarks.fleet.local_fleet import LocalFleet, open_jobs
from benchmarks.fleet.processes import ServiceProcess
from benchmarks.job_latency import Service, golden_student
from benchmarks.soak.record import Extent, Record, Sample
from ltl_core.settings import Budget, CalibrationSettings, StageName
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from tests.postgres import EmbeddedServer

PRESETS = ("pcm", "hermes", "reram", "harsh")
_MIB = 2**20


class Soak:
    """Everything that happens at the same time."""

    def __init__(
        self,
        fleet: LocalFleet,
        api: Service,
        workers: dict[str, ServiceProcess],
        extent: Extent,
        record: Record,
    ) -> None:
        self._fleet, self._api, self._workers = fleet, api, workers
        self._extent, self._record = extent, record
        self._to_follow: asyncio.Queue[str] = asyncio.Queue()
        self._client = Tandemcal(api.url, api.key)
        self._began = 0.0

    async def run(self) -> None:
        """Run until the time is over and every stream and job has ended, or until the deadline."""
        submit = await asyncio.to_thread(self._make_submit)
        headers = {"Authorization": f"Bearer {self._api.key}"}
        limits = httpx.Limits(max_connections=None)
        self._began = time.monotonic()
        async with httpx.AsyncClient(
            base_url=self._api.url, headers=headers, limits=limits, timeout=60
        ) as client:
            try:
                async with asyncio.timeout(self._extent.seconds + self._extent.end_within_s):
                    await self._run_all(client, submit)
            except TimeoutError:
                self._record.failures["the deadline passed before everything had ended"] += 1
        self._client.close()

    async def _run_all(self, client: httpx.AsyncClient, submit: Callable[[], str]) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._submit(submit))
            group.create_task(self._poll(client))
            group.create_task(self._kill())
            group.create_task(self._sample())
            for _ in range(self._extent.listeners):
                group.create_task(self._listen(client))
        while await asyncio.to_thread(open_jobs, self._fleet, self._record.jobs):
            await asyncio.sleep(0.5)

    def _make_submit(self) -> Callable[[], str]:
        client = self._client
        student = golden_student(client, self._extent.workload)
        chips = [
            client.chips.register(f"chip-{n}", preset=PRESETS[n % len(PRESETS)], seed=n).id
            for n in range(self._extent.chips)
        ]
        # Trims alone: such a job is short, so that many begin and end.
        settings = CalibrationSettings(
            stages=(StageName.TRIMS,),
            budget=Budget(samples=self._extent.samples),
            target_points=None,
            test_samples=128,
            verification_samples=128,
        )
        turn = cycle(chips)
        return lambda: client.jobs.calibrate(next(turn), student, settings).id

    @property
    def _passed(self) -> float:
        return time.monotonic() - self._began

    async def _every(self, period: float, until_s: float) -> AsyncIterator[None]:
        """Yield at a steady pace until the time is over; a late one follows at once."""
        number = 0
        while (due := number * period) < until_s:
            await asyncio.sleep(max(0.0, due - self._passed))
            yield
            number += 1

    async def _submit(self, submit: Callable[[], str]) -> None:
        period = self._extent.seconds / self._extent.jobs
        async for _ in self._every(period, self._extent.seconds):
            try:
                job = await asyncio.to_thread(submit)
            except (TandemcalError, httpx.HTTPError) as error:
                self._record.failures[f"a job was refused: {type(error).__name__}"] += 1
                continue
            self._record.jobs.append(job)
            self._to_follow.put_nowait(job)
        for _ in range(self._extent.listeners):
            self._to_follow.put_nowait("")  # no more

    async def _poll(self, client: httpx.AsyncClient) -> None:
        async def ask(due: float, job: str) -> None:
            try:
                answer = await client.get(f"/v1/jobs/{job}")
                self._record.answers[str(answer.status_code)] += 1
            except httpx.HTTPError as error:
                self._record.answers[type(error).__name__] += 1
            self._record.polled.append(self._passed - due)

        async with asyncio.TaskGroup() as group:
            number = 0
            async for _ in self._every(1 / self._extent.polls_a_second, self._extent.seconds):
                number += 1
                if self._record.jobs:
                    job = self._record.jobs[-1 - number % len(self._record.jobs)]
                    group.create_task(ask(self._passed, job))

    async def _kill(self) -> None:
        period, turn = self._extent.kill_every_s, cycle(list(self._workers))
        async for _ in self._every(period, self._extent.seconds):
            if self._passed > period / 2:
                name = next(turn)
                self._fleet.processes.remove(self._workers[name])
                await asyncio.to_thread(self._workers[name].kill)
                self._workers[name] = self._fleet.starting_worker(name)
                self._record.kills += 1

    async def _sample(self) -> None:
        async for _ in self._every(self._extent.sample_every_s, self._extent.seconds):
            self._record.samples += await asyncio.to_thread(self._held)

    def _held(self) -> list[Sample]:
        roots = {}
        for one in list(self._fleet.processes):
            if one.process.poll() is None:
                roots[one.name] = one.process.pid
            elif one in self._fleet.processes:  # nobody killed it
                self._record.failures[f"{one.name} was seen dead"] += 1
        if isinstance(self._fleet.server, EmbeddedServer):
            roots["postgresql"] = self._fleet.server.pid
        held = []
        for name, pid in roots.items():
            with suppress(psutil.NoSuchProcess):  # it was killed at this moment
                process = psutil.Process(pid)
                measured = _tree(process) if name == "postgresql" else _own(process)
                held.append(Sample(self._passed, name, pid, *measured))
        return held

    async def _listen(self, client: httpx.AsyncClient) -> None:
        while job := await self._to_follow.get():
            self._record.streams[job] = await _follow(client, job)


async def _follow(client: httpx.AsyncClient, job: str) -> list[int]:
    """Read the events of a job until it has ended; return their numbers as they came."""
    seen: list[int] = []
    while True:
        after = {"Last-Event-ID": str(seen[-1])} if seen else {}
        with suppress(httpx.HTTPError):
            async with client.stream("GET", f"/v1/jobs/{job}/events", headers=after) as answer:
                if answer.status_code == 204:
                    return seen
                async for line in answer.aiter_lines():
                    if line.startswith("id: "):
                        seen.append(int(line[4:]))
                    if line == "event: job.ended":
                        return seen
        await asyncio.sleep(0.2)  # the stream was cut: it goes on behind the last event


def _own(process: psutil.Process) -> tuple[float, int]:
    """Memory of a process in MiB, and its descriptors."""
    return process.memory_info().rss / _MIB, process.num_fds()


def _tree(first: psutil.Process) -> tuple[float, int]:
    """Memory of PostgreSQL's processes in MiB, shared parts counted once, and their number."""
    members = [first, *first.children(recursive=True)]
    memory = 0.0
    for one in members:
        with suppress(psutil.NoSuchProcess):
            memory += one.memory_full_info().pss / _MIB
    return memory, len(members)
