"""A lab for tests of jobs: a seeded data directory, and the real service as a process on it."""

import os
import re
import shutil
import signal
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import httpx

from service.db.repositories.chips import ChipRepository
from service.db.repositories.events import EventRepository
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.session import Database
from service.db.tables import (
    Chip,
    ChipLease,
    Event,
    Job,
    WeightVersion,
)
from service.settings import Settings
from service.states import JobStatus
from tests.integration.lab_seed import Seeded, new_id, now
from tests.integration.traced_chip import Drive, Faults, read_trace
from tests.warm.client import WarmServer

QUEUE_POLL_S = "0.1"  # a job is over in 0.2 s, and would wait for longer than that
PATIENCE = 240.0  # s; other work may share the machine
T = TypeVar("T")


class SeededLab(NamedTuple):
    """A data directory to copy, what is in it, and what starts processes."""

    root: Path
    ids: Seeded
    warm: WarmServer


class Lab:
    """One data directory, and what tests ask of it."""

    def __init__(self, root: Path, seeded: SeededLab, database_url: str | None = None) -> None:
        self.settings = Settings(data_dir=root, database_url=database_url)
        self.database = Database(self.settings.database)
        self.seeded, self.warm = seeded.ids, seeded.warm
        self.trace = root / "trace.jsonl"

    def chip(
        self,
        name: str,
        preset: str = "ideal",
        overrides: Mapping[str, Any] | None = None,
        **faults: Any,
    ) -> str:
        """Register a traced chip."""
        chip_settings = {"preset": preset, "seed": 1, "trace": str(self.trace), "faults": faults}
        chip_settings["overrides"] = dict(overrides or {})
        Faults(**faults)
        chip = Chip(
            id=new_id(),
            name=name,
            backend="traced",
            settings=chip_settings,
            info={},
            health="unknown",
            created_at=now(),
        )
        with self.database.writing() as session:
            ChipRepository(session).add(chip)
        return chip.id

    def job(self, job_id: str) -> Job:
        with self.database.reading() as session:
            return JobRepository(session).get(job_id)

    def events(self, job_id: str, *types: str) -> list[Event]:
        with self.database.reading() as session:
            return EventRepository(session).after(
                0, job_id=job_id, types=types or None, limit=10_000
            )

    def lease(self, chip_id: str) -> ChipLease:
        with self.database.reading() as session:
            lease = LeaseRepository(session).get(chip_id)
        assert lease is not None
        return lease

    def versions(self, chip_id: str) -> list[WeightVersion]:
        with self.database.reading() as session:
            return session.query(WeightVersion).filter_by(chip_id=chip_id).all()

    def blobs(self) -> set[str]:
        """What lies in the artifact store."""
        return {path.name for path in self.settings.artifacts_dir.glob("??/*")}

    def states(self) -> list[str]:
        """The saved states of the chips."""
        with self.database.reading() as session:
            return [str(chip.state_sha256) for chip in session.query(Chip)]

    def drives(self) -> list[Drive]:
        return read_trace(self.trace)

    def drives_of(self, chip_id: str) -> list[Drive]:
        return [drive for drive in self.drives() if drive.chip_id == chip_id]

    def ended(self, job_id: str) -> Job:
        """The job, once it is terminal."""
        until(lambda: self.job(job_id).ended_at is not None, f"job {job_id} ends")
        return self.job(job_id)

    def close(self) -> None:
        self.database.close()


class Process:
    """A process of the `tandemcal` command; its output goes to a file."""

    def __init__(self, lab: Lab, name: str, *words: str, **environment: str) -> None:
        self._lab = lab
        self._output = (lab.settings.data_dir / f"{name}.log").open("ab")
        self._mark = self._output.tell()
        environment = environment_for(lab.settings) | environment
        self.process = lab.warm.start(words, environment, self._output)

    def kill(self) -> None:
        """As a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.gone()

    def stop(self) -> int:
        """As Ctrl-C does; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.gone()

    def gone(self) -> int:
        """Wait for its end; its exit code."""
        code = self.process.wait(PATIENCE)
        self._output.close()
        return code

    def log(self) -> str:
        """What it has written since its start."""
        return Path(self._output.name).read_bytes()[self._mark :].decode()

    def said(self, pattern: str) -> str:
        """Wait until it has written this; the first group, or all of it."""

        def found() -> str | None:
            match = re.search(pattern, self.log())
            assert match or self.process.poll() is None, self.log()
            return match[match.re.groups and 1] if match else None

        return until(found, f"it writes {pattern!r}; so far: {self.log()}")


class Service(Process):
    """What answers requests: `up`, which runs jobs too, or `api`, which does not."""

    def __init__(
        self,
        lab: Lab,
        command: str = "up",
        trusting: ssl.SSLContext | None = None,
        /,
        **environment: str,
    ) -> None:
        """`trusting` is for a service with a certificate."""
        super().__init__(lab, "service", command, "--port", "0", **environment)
        address = self.said(r"answers at (https?://\S+)")
        key = lab.settings.key_file.read_text().strip()
        self.http = httpx.Client(
            base_url=address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=30,
            verify=trusting or False,
        )

    def submit(self, **request: Any) -> str:
        """Queue a job."""
        answer = self.http.post("/v1/jobs", json=request, headers={"Idempotency-Key": new_id()})
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def calibrate(
        self,
        chip_id: str,
        samples: int = 640,
        last_trims_after_s: float | None = None,
        passes_max: int = 1,
        **settings: Any,
    ) -> str:
        budget = settings.pop("budget", {"samples": samples})
        return self.submit(
            last_trims_after_s=last_trims_after_s,
            passes_max=passes_max,
            kind="calibrate",
            chip_id=chip_id,
            student_id=self._lab.seeded.student_id,
            settings={
                "budget": budget,
                "batch": 32,
                "settle_s": 0,
                "target_points": None,
                "stages": ["trims", "cells"],
                "data": "lab",
                **settings,
            },
        )

    def published(self, chip_id: str, **asked: Any) -> Job:
        """A calibration that was published. Of so few samples, not every choice makes it better."""
        for seed in range(8):
            job = self._lab.ended(self.calibrate(chip_id, seed=seed, **asked))
            assert job.status == JobStatus.SUCCEEDED, job.reason
            if (job.result or {})["published"]:
                return job
        raise AssertionError(f"No calibration of chip {chip_id} made it better.")

    def evaluate(self, chip_id: str) -> str:
        return self.submit(kind="evaluate", chip_id=chip_id, student_id=self._lab.seeded.student_id)

    def gone(self) -> int:
        self.http.close()
        return super().gone()


def copy_of(seeded: SeededLab, root: Path) -> None:
    """A data directory of one's own."""
    shutil.copytree(seeded.root, root, dirs_exist_ok=True)


@contextmanager
def a_lab(seeded: SeededLab, root: Path) -> Iterator[Lab]:
    """With a copy of what was seeded."""
    copy_of(seeded, root)
    lab = Lab(root, seeded)
    yield lab
    lab.close()


def environment_for(settings: Settings) -> dict[str, str]:
    return os.environ | {
        "TANDEMCAL_JOB_THREADS": os.environ["OMP_NUM_THREADS"],
        "TANDEMCAL_DATA_DIR": str(settings.data_dir),
        "TANDEMCAL_DATABASE_URL": settings.database,
        "TANDEMCAL_CHIP_BACKENDS": '{"traced": "tests.integration.traced_chip:make"}',
        "TANDEMCAL_SIMULATED_SECONDS_PER_SECOND": "0",
        "TANDEMCAL_QUEUE_POLL_S": QUEUE_POLL_S,
        "TANDEMCAL_AGENT_NETWORKS": '["127.0.0.0/8"]',
    }


def until(ask: Callable[[], T | None], what: str, patience: float = PATIENCE) -> T:
    """Ask again and again until the answer is true."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"Waited {patience} s in vain until {what}.")


def keys(events: list[Event]) -> Counter[tuple[str, str]]:
    """How often each event was told."""
    return Counter((event.type, event.key) for event in events)
