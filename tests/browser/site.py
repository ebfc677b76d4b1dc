"""The service that the browser visits: one calibrated chip, one slow chip, and 300 more in rows."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import insert

from service.db.tables import Chip
from service.states import ChipHealth
from tests.integration.jobs_lab import Lab, SeededLab, Service, a_lab
from tests.integration.lab_seed import now

MANY = 300
_RUN_S = 0.05  # s that a run of the slow chip takes, so that its jobs can be watched


class Site(NamedTuple):
    """A running service, and the ids of what its pages show."""

    lab: Lab
    service: Service
    url: str
    key: str
    job_id: str  # a calibration of `bench-1` that was published
    slow_id: str  # a chip

    def paths(self) -> dict[str, str]:
        """Every page by its name."""
        return {
            "fleet": "/",
            "chip": "/chips/bench-1",
            "job": f"/jobs/{self.job_id}",
            "queue": "/queue",
            "teachers": "/teachers",
            "teacher": f"/teachers/{self.lab.seeded.teacher_id}",
            "student": f"/students/{self.lab.seeded.student_id}",
            "audit": "/audit",
            "keys": "/keys",
        }

    def slow_job(self) -> str:
        """Queue a calibration that takes some seconds."""
        return self.service.calibrate(self.slow_id, samples=640)


@contextmanager
def a_site(seeded: SeededLab, root: Path) -> Iterator[Site]:
    """Start the service, and calibrate one chip."""
    with a_lab(seeded, root) as lab:
        service = Service(lab)
        try:
            job = service.published(lab.chip("bench-1", preset="harsh"))
            slow = lab.chip("slow-1", preset="harsh", run_s=_RUN_S)
            _add_many(lab)
            key = lab.settings.key_file.read_text().strip()
            yield Site(lab, service, str(service.http.base_url).rstrip("/"), key, job.id, slow)
        finally:
            service.stop()


def _add_many(lab: Lab) -> None:
    """Good chips but for each hundredth; rows, since 300 calibrations would take minutes."""
    rows = [
        {
            "id": f"{number:036d}",
            "name": f"many-{number:03d}",
            "backend": "simulated",
            "settings": {"preset": "pcm"},
            "info": {},
            "health": ChipHealth.GOOD if number % 100 else ChipHealth.DRIFTING,
            "created_at": now(),
        }
        for number in range(MANY)
    ]
    with lab.database.writing() as session:
        session.execute(insert(Chip), rows)
