"""A fleet on this machine: PostgreSQL with its own settings, an api, and workers, each a process.

with local_fleet(host, folder) as fleet:
    api, worker = fleet.api(), fleet.worker("first")
    with Tandemcal(api.url, api.key) as client: ...
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from rich.console import Console
from sqlalchemy import select

from benchmarks.fleet.processes import Host, ServiceProcess, Start, until
from benchmarks.job_latency import Service
from service.cli.worker import STARTED
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.db.session import Database
from service.db.tables import Job
from service.settings import Settings
from service.states import TERMINAL
from tests.postgres import EmbeddedServer, Server, as_text


class LocalFleet:
    """Starts processes of the service on one database, and ends them."""

    def __init__(self, start: Start, folder: Path, server: Server, **environment: str) -> None:
        self.folder, self.server = folder, server
        self._start, self._url = start, server.create()
        self.settings = Settings(data_dir=folder, database_url=as_text(self._url))
        self.environment = {
            "TANDEMCAL_DATA_DIR": str(folder),
            "TANDEMCAL_DATABASE_URL": self.settings.database,
            "TANDEMCAL_LOG_LEVEL": "info",
            "TANDEMCAL_AGENT_NETWORKS": '["127.0.0.0/8"]',
        } | environment
        self.processes: list[ServiceProcess] = []
        self.database = Database(self.settings.database)

    def api(self) -> Service:
        """Start an api: it answers requests and runs no job."""
        url = self._started("api", "api", "--port", "0").wait_for_address()
        return Service(url, self.settings.key_file.read_text().strip())

    def service(self) -> Service:
        """Start a service that runs its own jobs."""
        url = self._started("service", "up", "--port", "0").wait_for_address()
        return Service(url, self.settings.key_file.read_text().strip())

    def worker(self, name: str, **environment: str) -> ServiceProcess:
        """Start a worker of this name, and wait until it can run jobs."""
        return self.started(self.starting_worker(name, **environment))

    def starting_worker(self, name: str, **environment: str) -> ServiceProcess:
        """Start a worker without waiting for it: several start sooner together."""
        environment = {"TANDEMCAL_EXECUTOR_ID": name} | environment
        return self._started(name, "worker", **environment)

    def started(self, worker: ServiceProcess) -> ServiceProcess:
        """Wait until the worker can run jobs."""
        worker.wait_for_output(STARTED)
        return worker

    def close(self) -> None:
        for process in reversed(self.processes):
            process.stop()
        self.database.close()
        self.server.drop(self._url)

    def _started(self, name: str, *words: str, **environment: str) -> ServiceProcess:
        environment = self.environment | environment
        process = ServiceProcess(self._start, self.folder, name, words, **environment)
        self.processes.append(process)
        return process


@contextmanager
def local_fleet(host: Host, folder: Path, **environment: str) -> Iterator[LocalFleet]:
    """Make a fleet with a database of its own on the host's server; end it."""
    with host.server() as server:
        fleet = LocalFleet(host.start, folder, server, **environment)
        try:
            yield fleet
        finally:
            fleet.close()


def processor_seconds(fleet: LocalFleet) -> dict[str, float]:
    """Processor time so far, in s, by process; that of children counts once they have ended.

    A PostgreSQL server that is not of this fleet counts among the others.
    """
    used = {"benchmark": _own(psutil.Process())}
    if isinstance(fleet.server, EmbeddedServer):
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
