"""A whole fleet of processes that a storm can pass over: PostgreSQL, an api, workers, agents."""

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import httpx
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.db.tables import Chip, ChipLease, Event, Job, WeightVersion
from tests.chaos.storm import Blow, Fault, Scale, Wish
from tests.integration.fleet_lab import QUICK, Worker, copy_rows
from tests.integration.jobs_lab import Lab, Process, Seeded, copy_of, until
from tests.postgres import EmbeddedServer, as_text

JOIN_KEY = "a-join-key-of-this-town-alone"
CALLS = "calls.jsonl"
_PRESETS = ("pcm", "hermes", "reram", "harsh")
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
        }
        super().__init__(lab, name, "agent", **environment)


class Town:
    """Every process by its place; what is struck is started again."""

    def __init__(self, lab: Lab, server: EmbeddedServer, scale: Scale, port: int) -> None:
        self.lab, self.calls = lab, lab.settings.data_dir / CALLS
        self.address = f"http://127.0.0.1:{port}"
        self._server, self._scale, self._port = server, scale, port
        self._environment = QUICK | {"TANDEMCAL_JOIN_KEY": JOIN_KEY}
        self.api = self._start_api()
        key = lab.settings.key_file.read_text().strip()
        self.http = httpx.Client(
            base_url=self.address, headers={"Authorization": f"Bearer {key}"}, timeout=30
        )
        self._ports = [free_port() for _ in range(scale.chips)]
        self._agents = [self._start_agent(n) for n in range(scale.chips)]
        self._workers = [self._start_worker(n) for n in range(scale.workers)]
        until(lambda: len(self.chips()) == scale.chips, "every agent has registered")

    def ask_for(self, wish: Wish, key: str) -> str:
        """Ask until there is an answer: the same key makes one job, however often it is sent."""
        body = {
            "kind": wish.kind,
            "chip_id": self.chips()[f"chip-{wish.chip}"],
            "student_id": self.lab.seeded.student_id,
        }
        if wish.kind == "calibrate":
            budget = {"samples": wish.samples}
            body["settings"] = {"budget": budget, "batch": 32, "settle_s": 0}  # type: ignore[assignment]
        job = self._send("/v1/jobs", body, key)
        if wish.cancelled:
            self._send(f"/v1/jobs/{job}/cancel", {}, key)
        return job

    def strike(self, blow: Blow) -> None:
        """One blow, and what follows it."""
        time.sleep(blow.pause)
        {
            Fault.KILL_WORKER: self._kill_worker,
            Fault.FREEZE_WORKER: lambda blow: _freeze(self._workers[blow.whom], blow.lasting),
            Fault.KILL_API: self._kill_api,
            Fault.KILL_AGENT: self._kill_agent,
            Fault.FREEZE_AGENT: lambda blow: _freeze(self._agents[blow.whom], blow.lasting),
            Fault.KILL_DATABASE: self._kill_database,
        }[blow.fault](blow)

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
        self.http.close()
        for process in (*self._workers, *self._agents, self.api):
            if process.process.poll() is None:
                process.process.send_signal(signal.SIGCONT)
                process.kill()

    def _kill_worker(self, blow: Blow) -> None:
        self._workers[blow.whom].kill()
        time.sleep(blow.lasting)
        self._workers[blow.whom] = self._start_worker(blow.whom)

    def _kill_api(self, blow: Blow) -> None:
        self.api.kill()
        time.sleep(blow.lasting)
        self.api = self._start_api()

    def _kill_agent(self, blow: Blow) -> None:
        self._agents[blow.whom].kill()
        time.sleep(blow.lasting)
        self._agents[blow.whom] = self._start_agent(blow.whom)

    def _kill_database(self, blow: Blow) -> None:
        self._server.kill()
        time.sleep(blow.lasting)
        self._server.start()

    def _start_api(self) -> Process:
        words = ("api", "--port", str(self._port))
        process = Process(self.lab, "api", *words, **self._environment)
        process.said(r"answers at (http://\S+)")
        return process

    def _start_worker(self, number: int) -> Worker:
        return Worker(self.lab, f"worker-{number}", **self._environment)

    def _start_agent(self, number: int) -> Agent:
        return Agent(self.lab, number, self._ports[number], self.address)

    def _send(self, path: str, body: dict[str, object], key: str) -> str:
        """Nothing is given up because the service is away for a while."""

        def sent() -> str | None:
            try:
                answer = self.http.post(path, json=body, headers={"Idempotency-Key": key})
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
    server: EmbeddedServer, template: str, seeded: tuple[Path, Seeded], root: Path, scale: Scale
) -> Iterator[Town]:
    """All of it, on a database of its own."""
    copy_of(seeded[0], root)
    lab = Lab(root, seeded[1], as_text(server.create(template)))
    copy_rows(root, lab.database)
    town = Town(lab, server, scale, free_port())
    try:
        yield town
    finally:
        town.close()
        lab.close()


@contextmanager
def storming(town: Town, blows: list[Blow]) -> Iterator[None]:
    """Blow after blow beside the block; waits for the last of them."""
    broken: list[BaseException] = []

    def storm() -> None:
        try:
            for blow in blows:
                town.strike(blow)
        except BaseException as error:
            broken.append(error)

    thread = threading.Thread(target=storm, name="storm")
    thread.start()
    yield
    thread.join()
    if broken:
        raise broken[0]


def _freeze(process: Process, lasting: float) -> None:
    process.process.send_signal(signal.SIGSTOP)
    time.sleep(lasting)
    process.process.send_signal(signal.SIGCONT)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
