"""A whole fleet of processes to inject faults into: PostgreSQL, an api, workers, agents."""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.db.tables import Chip, ChipLease, Event, Job, WeightVersion
from tests.chaos.fault_schedule import FaultAction, FaultEvent, JobRequest, Role, Scale
from tests.chaos.reader import Reader
from tests.chaos.supervisors import DatabaseSupervisor, ProcessSupervisor, SmallDisk
from tests.integration.fleet_lab import Worker, copy_rows
from tests.integration.jobs_lab import Lab, Process, SeededLab, copy_of, until
from tests.integration.lab_seed import Json
from tests.ports import free_ports
from tests.postgres import EmbeddedServer, as_text

JOIN_KEY = "a-join-key-of-this-fleet-alone"
SETTINGS = {
    "TANDEMCAL_JOIN_KEY": JOIN_KEY,
    "TANDEMCAL_QUEUE_POLL_S": "0.5",
    "TANDEMCAL_RESERVE_BYTES": "1000000",
}
CALLS = "calls.jsonl"
_PRESETS = ("pcm", "hermes", "reram", "harsh")
_WATCH = 1.0  # s between two looks for processes that ended by themselves
_LOG = logging.getLogger("chaos")
Found = TypeVar("Found")


class Agent(Process):
    """One chip behind HTTP."""

    def __init__(self, lab: Lab, number: int, port: int, service: str) -> None:
        name = f"chip-{number}"
        environment = {
            "TANDEMCAL_AGENT_NAME": name,
            "TANDEMCAL_AGENT_CHIP": _PRESETS[number % len(_PRESETS)],
            "TANDEMCAL_AGENT_PORT": str(port),
            "TANDEMCAL_AGENT_SERVICE": service,
            "TANDEMCAL_AGENT_JOIN_KEY": JOIN_KEY,
            "TANDEMCAL_AGENT_DATA_DIR": str(lab.settings.data_dir / "agents"),
            "TANDEMCAL_AGENT_CALL_LOG": str(lab.settings.data_dir / CALLS),
            "TANDEMCAL_AGENT_AGING": "0",
            "TANDEMCAL_AGENT_REACH_S": "240",  # other work may share the machine
        }
        super().__init__(lab, name, "agent", **environment)


class FleetUnderTest:
    """Every process by its role and number."""

    def __init__(self, lab: Lab, server: EmbeddedServer, scale: Scale) -> None:
        self.lab, self.calls = lab, lab.settings.data_dir / CALLS
        ports = free_ports()
        self._scale, self._port = scale, next(ports)
        self.address = f"http://127.0.0.1:{self._port}"
        self._environment = SETTINGS | {  # s; each process must be able to say that it lives
            "TANDEMCAL_HEARTBEAT_S": str(scale.lease / 8),
            "TANDEMCAL_EXECUTOR_SILENCE_S": str(scale.lease),
            "TANDEMCAL_LEASE_S": str(scale.lease),
            "TANDEMCAL_AGENT_HEARTBEAT_S": str(scale.lease / 4),
            "TANDEMCAL_AGENT_SILENCE_S": str(2 * scale.lease),
        }
        self.disk = SmallDisk(lab.settings.artifacts_dir)
        self._free_ports = ports
        self._agent_ports = [next(ports) for _ in range(scale.chips)]
        self._places: dict[tuple[Role, int], ProcessSupervisor] = {}
        self._database = DatabaseSupervisor(server)
        self._fill(Role.API, [self._start_api])
        self._fill(Role.WORKER, [self._worker(n) for n in range(scale.workers)])
        self._fill(Role.AGENT, [self._agent(n) for n in range(scale.chips)])
        self._http: httpx.Client | None = None

    @property
    def key(self) -> str:
        """API key of the first user, with every scope."""
        return self.lab.settings.key_file.read_text().strip()

    def wait_until_registered(self) -> None:
        """Wait until the api answers and every agent has registered."""
        until(self.lab.settings.key_file.exists, "there is a key", self._scale.timeout)
        headers = {"Authorization": f"Bearer {self.key}"}
        self._http = httpx.Client(base_url=self.address, headers=headers, timeout=30)
        until(
            lambda: len(self.chips()) == self._scale.chips,
            "every agent has registered",
            self._scale.timeout,
        )

    def submit(self, request: JobRequest, key: str) -> str:
        """Submit a job, again until there is an answer: one key makes one job."""
        body: Json = {
            "kind": request.kind,
            "chip_id": self.chips()[f"chip-{request.chip}"],
            "student_id": self.lab.seeded.student_id,
        }
        if request.kind == "calibrate":
            budget = {"samples": request.samples}
            body["settings"] = {
                "budget": budget,
                "batch": 32,
                "settle_s": 0,
                "target_points": None,
                "stages": ["trims", "cells"],
                "data": "lab",
            }
        job = self._send("/v1/jobs", body, key)
        if request.cancelled:
            self._send(f"/v1/jobs/{job}/cancel", {}, key)
        return job

    def reader(self, job_id: str) -> Reader:
        """Start to read the events of a job."""
        return Reader(self.address, self.key, job_id)

    def inject(self, event: FaultEvent) -> None:
        """Inject one fault and wait until its process is back."""
        _LOG.info("%s %s %d for %.1f s", *event.fault, event.target, event.duration)
        if event.fault.action is FaultAction.MOVE:
            self._agent_ports[event.target] = next(self._free_ports)
        self._part(event).inject(event.fault.action, event.duration)

    def _part(self, event: FaultEvent) -> ProcessSupervisor | DatabaseSupervisor | SmallDisk:
        match event.fault.role:
            case Role.DATABASE:
                return self._database
            case Role.DISK:
                return self.disk
        return self._places[event.fault.role, event.target]

    def restart_if_ended(self) -> int:
        """Start processes that ended by themselves; how many restarts there were so far."""
        for place in self._places.values():
            place.restart_if_ended()
        return sum(place.restarts for place in self._places.values())

    def chips(self) -> dict[str, str]:
        """Ids by name."""
        return self._read(lambda s: {c.name: c.id for c in s.scalars(select(Chip))})

    def jobs(self, ids: list[str]) -> list[Job]:
        found = self._read(
            lambda s: {j.id: j for j in s.scalars(select(Job).where(Job.id.in_(ids)))}
        )
        return [found[job_id] for job_id in ids]

    def events(self) -> list[Event]:
        return self._read(lambda s: list(s.scalars(select(Event).order_by(Event.seq))))

    def versions(self) -> list[WeightVersion]:
        return self._read(lambda s: list(s.scalars(select(WeightVersion))))

    def leases(self) -> list[ChipLease]:
        return self._read(lambda s: list(s.scalars(select(ChipLease))))

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
        for place in self._places.values():
            place.close()
        self.disk.close()

    def _fill(self, role: Role, starts: list[Callable[[], Process]]) -> None:
        for number, start in enumerate(starts):
            self._places[role, number] = ProcessSupervisor(start)

    def _start_api(self) -> Process:
        return Process(self.lab, "api", "api", "--port", str(self._port), **self._environment)

    def _worker(self, number: int) -> Callable[[], Process]:
        return lambda: Worker(self.lab, f"worker-{number}", **self._environment)

    def _agent(self, number: int) -> Callable[[], Process]:
        return lambda: Agent(self.lab, number, self._agent_ports[number], self.address)

    def _send(self, path: str, body: Json, key: str) -> str:
        """Send until it is answered; the service may be away for a while."""
        http = self._http
        assert http is not None, "the fleet was not waited for"

        def sent() -> str | None:
            try:
                answer = http.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                return None
            taken = (503, 507) if self.disk.can_be_filled else (503,)
            assert answer.status_code < 500 or answer.status_code in taken, answer.text
            refused = answer.status_code == 409 and path.endswith("/cancel")  # it had ended
            if answer.is_success or refused:
                return str(answer.json().get("id", "-"))
            return None

        return until(sent, f"{path} is answered", self._scale.timeout)

    def _read(self, ask: Callable[..., Found]) -> Found:
        """Read, again until the database answers."""

        def read() -> tuple[Found] | None:
            try:
                with self.lab.database.reading() as session:
                    return (ask(session),)
            except SQLAlchemyError:
                return None

        return until(read, "the database answers", self._scale.timeout)[0]


@contextmanager
def fleet_under_test(
    server: EmbeddedServer, template: str, seeded: SeededLab, root: Path, scale: Scale
) -> Iterator[FleetUnderTest]:
    """Start a whole fleet on a database of its own; end all of it."""
    copy_of(seeded, root)
    lab = Lab(root, seeded, as_text(server.create(template)))
    copy_rows(root, lab.database)
    fleet = FleetUnderTest(lab, server, scale)
    try:
        with _supervised(fleet):
            fleet.wait_until_registered()
            yield fleet
    finally:
        fleet.close()
        lab.close()


@contextmanager
def injecting(fleet: FleetUnderTest, schedule: list[FaultEvent]) -> Iterator[float]:
    """Inject scheduled faults beside the block; yield when the schedule began; wait for all."""
    began = time.monotonic()

    def inject(event: FaultEvent) -> None:
        time.sleep(max(0.0, began + event.at - time.monotonic()))
        fleet.inject(event)

    with ThreadPoolExecutor(len(schedule), "faults") as pool:
        injected = [pool.submit(inject, event) for event in schedule]
        yield began
        for one in injected:
            one.result()


@contextmanager
def _supervised(fleet: FleetUnderTest) -> Iterator[None]:
    """Start again what ends by itself, as a service manager does."""
    closing = threading.Event()

    def watch() -> None:
        while not closing.wait(_WATCH):
            fleet.restart_if_ended()

    thread = threading.Thread(target=watch, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
