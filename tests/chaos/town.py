"""A whole fleet of processes that a storm can pass over: PostgreSQL, an api, workers, agents."""

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
from tests.chaos.places import DatabasePlace, Place
from tests.chaos.reader import Reader
from tests.chaos.storm import Blow, Role, Scale, Wish
from tests.integration.fleet_lab import QUICK, Worker, copy_rows
from tests.integration.jobs_lab import Json, Lab, Process, SeededLab, copy_of, until
from tests.ports import free_ports
from tests.postgres import EmbeddedServer, as_text

JOIN_KEY = "a-join-key-of-this-town-alone"
CALLS = "calls.jsonl"
_PRESETS = ("pcm", "hermes", "reram", "harsh")
_WATCH = 1.0  # s between two looks for processes that ended by themselves
_LOG = logging.getLogger("storm")
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


class Town:
    """Every process by its role and number."""

    def __init__(self, lab: Lab, server: EmbeddedServer, scale: Scale) -> None:
        self.lab, self.calls = lab, lab.settings.data_dir / CALLS
        ports = free_ports()
        self._scale, self._port = scale, next(ports)
        self.address = f"http://127.0.0.1:{self._port}"
        self._environment = QUICK | {"TANDEMCAL_JOIN_KEY": JOIN_KEY}
        self._places: dict[tuple[Role, int], Place] = {}
        self._database = DatabasePlace(server)
        self._fill(Role.API, [self._start_api])
        self._fill(Role.WORKER, [self._worker(n) for n in range(scale.workers)])
        self._fill(Role.AGENT, [self._agent(n, next(ports)) for n in range(scale.chips)])
        self._http: httpx.Client | None = None

    @property
    def key(self) -> str:
        """Of its owner."""
        return self.lab.settings.key_file.read_text().strip()

    def settle(self) -> None:
        """Until everybody is there."""
        until(self.lab.settings.key_file.exists, "there is a key", self._scale.patience)
        headers = {"Authorization": f"Bearer {self.key}"}
        self._http = httpx.Client(base_url=self.address, headers=headers, timeout=30)
        until(
            lambda: len(self.chips()) == self._scale.chips,
            "every agent has registered",
            self._scale.patience,
        )

    def ask_for(self, wish: Wish, key: str) -> str:
        """Ask until there is an answer: the same key makes one job, however often it is sent."""
        body: Json = {
            "kind": wish.kind,
            "chip_id": self.chips()[f"chip-{wish.chip}"],
            "student_id": self.lab.seeded.student_id,
        }
        if wish.kind == "calibrate":
            budget = {"samples": wish.samples}
            body["settings"] = {"budget": budget, "batch": 32, "settle_s": 0}
        job = self._send("/v1/jobs", body, key)
        if wish.cancelled:
            self._send(f"/v1/jobs/{job}/cancel", {}, key)
        return job

    def reader(self, job_id: str) -> Reader:
        """Of this job's events, from now on."""
        return Reader(self.address, self.key, job_id)

    def strike(self, blow: Blow) -> None:
        """One blow, and what follows it."""
        _LOG.info("%s %s %d for %.1f s", *blow.fault, blow.whom, blow.lasting)
        place: Place | DatabasePlace = self._database
        if blow.fault.role is not Role.DATABASE:
            place = self._places[blow.fault.role, blow.whom]
        place.strike(blow.fault.deed, blow.lasting)

    def revive(self) -> int:
        """Start those again that ended by themselves; how many there were so far."""
        for place in self._places.values():
            place.revive()
        return sum(place.revived for place in self._places.values())

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

    def _fill(self, role: Role, starts: list[Callable[[], Process]]) -> None:
        for number, start in enumerate(starts):
            self._places[role, number] = Place(start)

    def _start_api(self) -> Process:
        return Process(self.lab, "api", "api", "--port", str(self._port), **self._environment)

    def _worker(self, number: int) -> Callable[[], Process]:
        return lambda: Worker(self.lab, f"worker-{number}", **self._environment)

    def _agent(self, number: int, port: int) -> Callable[[], Process]:
        return lambda: Agent(self.lab, number, port, self.address)

    def _send(self, path: str, body: Json, key: str) -> str:
        """Nothing is given up because the service is away for a while."""
        http = self._http
        assert http is not None, "the town has not settled"

        def sent() -> str | None:
            try:
                answer = http.post(path, json=body, headers={"Idempotency-Key": key})
            except httpx.TransportError:
                return None
            assert answer.status_code < 500 or answer.status_code == 503, answer.text
            refused = answer.status_code == 409 and path.endswith("/cancel")  # it had ended
            if answer.is_success or refused:
                return str(answer.json().get("id", "-"))
            return None

        return until(sent, f"{path} is answered", self._scale.patience)

    def _read(self, ask: Callable[..., Found]) -> Found:
        """Through the database's absence."""

        def read() -> tuple[Found] | None:
            try:
                with self.lab.database.reading() as session:
                    return (ask(session),)
            except SQLAlchemyError:
                return None

        return until(read, "the database answers", self._scale.patience)[0]


@contextmanager
def a_town(
    server: EmbeddedServer, template: str, seeded: SeededLab, root: Path, scale: Scale
) -> Iterator[Town]:
    """All of it, on a database of its own."""
    copy_of(seeded, root)
    lab = Lab(root, seeded, as_text(server.create(template)))
    copy_rows(root, lab.database)
    town = Town(lab, server, scale)
    try:
        with _supervised(town):
            town.settle()
            yield town
    finally:
        town.close()
        lab.close()


@contextmanager
def storming(town: Town, blows: list[Blow]) -> Iterator[float]:
    """Blow after blow beside the block, from the moment that it is given; waits for the last."""
    began = time.monotonic()

    def strike(blow: Blow) -> None:
        time.sleep(max(0.0, began + blow.at - time.monotonic()))
        town.strike(blow)

    with ThreadPoolExecutor(len(blows), "storm") as storm:
        struck = [storm.submit(strike, blow) for blow in blows]
        yield began
        for one in struck:
            one.result()


@contextmanager
def _supervised(town: Town) -> Iterator[None]:
    """What ends by itself is started again, as service managers do."""
    closing = threading.Event()

    def watch() -> None:
        while not closing.wait(_WATCH):
            town.revive()

    thread = threading.Thread(target=watch, name="supervisor")
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
