"""A fleet on this machine: PostgreSQL with its own settings, an api, and workers, each a process.

with a_town(folder) as town:
    api, worker = town.api(), town.worker("first")
    with Tandemcal(api.url, api.key) as client: ...
"""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import psutil
from rich.console import Console
from sqlalchemy import select

from benchmarks.job_latency import Service
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.db.session import Database
from service.db.tables import Job
from service.settings import Settings
from service.states import TERMINAL
from tests.postgres import EmbeddedServer, as_text, embedded_server

PATIENCE = 300.0  # s until a process answers, or a job has ended
Found = TypeVar("Found")


class Role:
    """One process of ours; what it says goes to a file."""

    def __init__(self, town: "Town", name: str, *words: str, **environment: str) -> None:
        self.name = name
        self._log = town.folder / f"{name}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", *words],
                env=os.environ | town.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def said(self, pattern: str) -> str:
        """Wait until it has written this; its first group, or all of it."""

        def found() -> str | None:
            match = re.search(pattern, self._log.read_text())
            if match is None and self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended:\n{self._log.read_text()}")
            return match[match.re.groups and 1] if match else None

        return until(found, f"{self.name} writes {pattern!r}")

    def kill(self) -> None:
        """By SIGKILL: nothing is put in order."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """By SIGTERM, and wait."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


class Town:
    """Starts roles, and ends them."""

    def __init__(self, folder: Path, server: EmbeddedServer, **environment: str) -> None:
        self.folder, self.server = folder, server
        self.settings = Settings(data_dir=folder, database_url=as_text(server.create()))
        self.environment = {
            "TANDEMCAL_DATA_DIR": str(folder),
            "TANDEMCAL_DATABASE_URL": self.settings.database,
            "TANDEMCAL_LOG_LEVEL": "info",
        } | environment
        self.roles: list[Role] = []
        self.database = Database(self.settings.database)

    def api(self) -> Service:
        """Answers requests; runs nothing."""
        api = self._kept(Role(self, "api", "api", "--port", "0"))
        url = api.said(r"answers at (http://\S+)")
        return Service(url, self.settings.key_file.read_text().strip())

    def worker(self, name: str, **environment: str) -> Role:
        """Runs jobs under this name; it has loaded what its jobs need."""
        return self.started(self.starting_worker(name, **environment))

    def starting_worker(self, name: str, **environment: str) -> Role:
        """Several start sooner together."""
        environment = {"TANDEMCAL_EXECUTOR_ID": name} | environment
        return self._kept(Role(self, name, "worker", **environment))

    def started(self, worker: Role) -> Role:
        """Wait until it works."""
        worker.said("worker started")
        return worker

    def close(self) -> None:
        for role in reversed(self.roles):
            role.stop()
        self.database.close()

    def _kept(self, role: Role) -> Role:
        self.roles.append(role)
        return role


@contextmanager
def a_town(folder: Path, **environment: str) -> Iterator[Town]:
    """On a server of its own, which writes as carefully as PostgreSQL does by default."""
    with embedded_server(durable=True) as server:
        town = Town(folder, server, **environment)
        try:
            yield town
        finally:
            town.close()


def until(ask: Callable[[], Found | None], what: str, pause: float = 0.05) -> Found:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(pause)
    raise SystemExit(f"Waited {PATIENCE:.0f} s in vain until {what}.")


def processor_seconds(town: Town) -> dict[str, float]:
    """User and system time so far, by who used it. That of children counts when they have ended."""
    used = {"benchmark": _own(psutil.Process())}
    used["postgresql"] = _tree(psutil.Process(town.server.pid))
    for role in town.roles:
        if role.process.poll() is None:
            process = psutil.Process(role.process.pid)
            used[role.name] = _own(process)
            if role.name != "api":
                used[f"{role.name}'s jobs"] = sum(_tree(child) for child in process.children())
    return used | {"others": _machine() - sum(used.values())}


def processor_shares(
    before: dict[str, float], after: dict[str, float], seconds: float
) -> dict[str, float]:
    """Of one core, between two looks."""
    return {who: (after[who] - before.get(who, 0.0)) / seconds for who in after}


def show_processor(console: Console, shares: dict[str, float]) -> None:
    """In a line."""
    told = ", ".join(f"{who} {100 * share:.0f} %" for who, share in shares.items())
    console.print(f"    of one core: {told}; together {100 * sum(shares.values()):.0f} %")


def call_off(town: Town, client: Tandemcal, jobs: Sequence[str]) -> None:
    """Cancel what has not ended, the last ones first, and wait for the ends."""
    for job in reversed(open_jobs(town, jobs)):
        with suppress(TandemcalError):  # it has ended meanwhile
            client.jobs.cancel(job)
    until(lambda: not open_jobs(town, jobs), "all jobs have ended", pause=0.25)


def open_jobs(town: Town, jobs: Sequence[str]) -> list[str]:
    """Those of these that have not ended, the oldest first."""
    with town.database.reading() as session:
        query = select(Job.id).where(Job.id.in_(jobs), Job.status.not_in(TERMINAL))
        return list(session.scalars(query.order_by(Job.id)))


def _machine() -> float:
    """Of everything on it."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _tree(process: psutil.Process) -> float:
    """Of a process, its children, and those that have ended."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
