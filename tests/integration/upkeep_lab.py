"""Chips with weights in force and policies, a planner, and workers whose part the test plays."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from service.api.context import utc_now
from service.db.repositories.jobs import JobRepository
from service.db.repositories.leases import LeaseRepository
from service.db.repositories.weights import Publication, WeightRepository
from service.db.tables import Job
from service.db.upkeep_tables import Policy
from service.jobs.attempts.recorder import Recorder
from service.jobs.messages import Ended
from service.jobs.upkeep.planner import Planner
from service.states import JobStatus
from tests.world import World

ANSWER = {"rates": {"readout": [0.5, 0.1]}, "noise": None, "probes": 1, "chip_time_s": 3.0}
CURVE = {"scores": [0.0, 2.0], "points": [0.0, 10.0], "spread": 0.5}  # of the student


class Fleet:
    """A world whose chips have weights in force and policies, and a planner of its own."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.student = world.trained_student()
        self.planner = self.another_planner()

    def another_planner(self, in_flight: int = 10) -> Planner:
        return Planner(self.world.context.database, self.world.engine, in_flight)

    def chip(self, name: str, **rules: Any) -> str:
        """A calibrated chip with this policy."""
        chip = str(self.world.register_chip(name)["id"])
        job = self.world.calibrate(chip, self.student)["id"]
        with self.world.context.database.writing() as session:
            token = self.world.drive(job)
            publication = Publication(
                job_id=job,
                token=token,
                block=b"codes",
                chip_time=1.0,
                rule="ltl-online",
                observable="window",
                accuracy={"golden": 0.9, "before": 0.5, "after": 0.9},
                fingerprint=ANSWER,
                code_version="1",
            )
            WeightRepository(session).publish(publication, utc_now())
            JobRepository(session).end(job, token, JobStatus.SUCCEEDED, None, {}, utc_now())
            LeaseRepository(session).release(chip, token)
        if rules:
            self.rule(chip, **rules)
        return chip

    def rule(self, chip: str, **rules: Any) -> Any:
        answer = self.world.client.put(f"/v1/chips/{chip}/policy", json=rules)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def policy(self, chip: str) -> Any:
        return self.world.client.get(f"/v1/chips/{chip}/policy").json()

    def planned(self) -> list[tuple[str, str]]:
        """Open jobs by kind and chip, the oldest first."""
        with self.world.context.database.reading() as session:
            jobs = session.scalars(select(Job).where(Job.status == "queued").order_by(Job.id))
            return [(job.kind, str(job.chip_id)) for job in jobs]

    def plan(self) -> list[tuple[str, str]]:
        self.planner.plan()
        return self.planned()

    def pass_time(self, seconds: float) -> None:
        """As if everything had happened so much earlier."""
        step = timedelta(seconds=seconds)
        names = ("probe_due_at", "calibrate_due_at", "due_at", "calibrated_at")
        with self.world.context.database.writing() as session:
            for policy in session.scalars(select(Policy)):
                for name in names:
                    at: datetime | None = getattr(policy, name)
                    setattr(policy, name, at and at - step)

    def finish(self, chip: str, status: JobStatus, **result: Any) -> None:
        """What a worker does with the chip's open job."""
        with self.world.context.database.reading() as session:
            query = select(Job).where(Job.chip_id == chip, Job.status == "queued")
            job = session.scalars(query).one()
        token = self.world.drive(job.id)
        ended = Ended(status=status, reason="of the test", result=result)
        with self.world.context.database.writing() as session:
            job = JobRepository(session).get(job.id)
            Recorder(session, job, token, utc_now()).end(ended, self.world.context.artifacts)

    def probed(self, chip: str, score: float) -> None:
        """The chip's open probe found this."""
        layers = [{"layer": "readout", "score": score}]
        result = {"score": score, "version": 1, "layers": layers, "loss_curve": CURVE}
        self.finish(chip, JobStatus.SUCCEEDED, fingerprint=ANSWER, **result)
