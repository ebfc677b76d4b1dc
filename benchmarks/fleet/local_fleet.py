"""A fleet on this machine: PostgreSQL with its own settings, an api, and workers, each a process.

with local_fleet(folder) as fleet:
    api, worker = fleet.api(), fleet.worker("first")
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
from service.cli.worker import STARTED
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.db.session import Database
from service.db.tables import Job
from service.settings import Settings
from service.states import TERMINAL
from tests.postgres import EmbeddedServer, as_text, embedded_server

TIMEOUT = 300.0  # s until a process answers, or a job has ended
Found = TypeVar("Found")


class FleetProcess:
    """A process of the fleet, whose output goes to a file."""

    def __init__(self, fleet: "LocalFleet", name: str, *words: str, **environment: str) -> None:
        self.name = name
        self._log = fleet.folder / f"{name}.log"
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", *words],
                env=os.environ | fleet.environment | environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def wait_for_output(self, pattern: str) -> str:
        """Wait until the output matches; return its first group, or the whole match."""

        def found() -> str | None:
            match = re.search(pattern, self._log.read_text())
            if match is None and self.process.poll() is not None:
                raise SystemExit(f"{self.name} ended:\n{self._log.read_text()}")
            return match[match.re.groups and 1] if match else None

        return until(found, f"{self.name} writes {pattern!r}")

    def kill(self) -> None:
        """Kill the process by SIGKILL."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End the process by SIGTERM, and wait for it."""
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(TIMEOUT)


class LocalFleet:
    """Starts processes of the service on one database, and ends them."""

    def __init__(self, folder: Path, server: EmbeddedServer, **environment: str) -> None:
        self.folder, self.server = folder, server
        self.settings = Settings(data_dir=folder, database_url=as_text(server.create()))
        self.environment = {
            "TANDEMCAL_DATA_DIR": str(folder),
            "TANDEMCAL_DATABASE_URL": self.settings.database,
            "TANDEMCAL_LOG_LEVEL": "info",
        } | environment
        self.processes: list[FleetProcess] = []
        self.database = Database(self.settings.database)

    def api(self) -> Service:
        """Start an api: it answers requests and runs no job."""
        api = self._kept(FleetProcess(self, "api", "api", "--port", "0"))
        url = api.wait_for_output(r"answers at (http://\S+)")
        return Service(url, self.settings.key_file.read_text().strip())

    def worker(self, name: str, **environment: str) -> FleetProcess:
        """Start a worker of this name, and wait until it can run jobs."""
        return self.started(self.starting_worker(name, **environment))

    def starting_worker(self, name: str, **environment: str) -> FleetProcess:
        """Start a worker without waiting for it: several start sooner together."""
        environment = {"TANDEMCAL_EXECUTOR_ID": name} | environment
        return self._kept(FleetProcess(self, name, "worker", **environment))

    def started(self, worker: FleetProcess) -> FleetProcess:
        """Wait until the worker can run jobs."""
        worker.wait_for_output(STARTED)
        return worker

    def close(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        self.database.close()

    def _kept(self, process: FleetProcess) -> FleetProcess:
        self.processes.append(process)
        return process


@contextmanager
def local_fleet(folder: Path, **environment: str) -> Iterator[LocalFleet]:
    """Start a fleet on a PostgreSQL server of its own, whose commits are durable; end it."""
    with embedded_server(durable=True) as server:
        fleet = LocalFleet(folder, server, **environment)
        try:
            yield fleet
        finally:
            fleet.close()


def until(ask: Callable[[], Found | None], what: str, pause: float = 0.05) -> Found:
    """Ask again and again until the answer is true. Raises SystemExit after TIMEOUT."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(pause)
    raise SystemExit(f"Waited {TIMEOUT:.0f} s in vain until {what}.")


def processor_seconds(fleet: LocalFleet) -> dict[str, float]:
    """Processor time so far, in s, by process; that of children counts once they have ended."""
    used = {"benchmark": _own(psutil.Process())}
    used["postgresql"] = _tree(psutil.Process(fleet.server.pid))
    for member in fleet.processes:
        if member.process.poll() is None:
            process = psutil.Process(member.process.pid)
            used[member.name] = _own(process)
            if member.name != "api":
                used[f"{member.name}'s jobs"] = sum(_tree(child) for child in process.children())
    return used | {"others": _machine() - sum(used.values())}


def processor_shares(
    before: dict[str, float], after: dict[str, float], seconds: float
) -> dict[str, float]:
    """Share of one core that each process used between two measurements."""
    return {who: (after[who] - before.get(who, 0.0)) / seconds for who in after}


def show_processor(console: Console, shares: dict[str, float]) -> None:
    """Print the shares in one line."""
    parts = ", ".join(f"{who} {100 * share:.0f} %" for who, share in shares.items())
    console.print(f"    of one core: {parts}; together {100 * sum(shares.values()):.0f} %")


def cancel_all(fleet: LocalFleet, client: Tandemcal, jobs: Sequence[str]) -> None:
    """Cancel the jobs that have not ended, the newest first, and wait until they have."""
    for job in reversed(open_jobs(fleet, jobs)):
        with suppress(TandemcalError):  # it has ended meanwhile
            client.jobs.cancel(job)
    until(lambda: not open_jobs(fleet, jobs), "all jobs have ended", pause=0.25)


def open_jobs(fleet: LocalFleet, jobs: Sequence[str]) -> list[str]:
    """List which of these jobs have not ended, the oldest first."""
    with fleet.database.reading() as session:
        query = select(Job.id).where(Job.id.in_(jobs), Job.status.not_in(TERMINAL))
        return list(session.scalars(query.order_by(Job.id)))


def _machine() -> float:
    """Processor time of the whole machine, in s."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


def _own(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _tree(process: psutil.Process) -> float:
    """Processor time of a process, its children, and children that have ended, in s."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
