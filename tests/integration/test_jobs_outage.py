"""PostgreSQL itself is killed while jobs run: they go on, and none is counted as broken off."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.db.migrate import upgrade
from service.states import JobStatus
from tests.integration.fleet_lab import Fleet, a_fleet, overlaps
from tests.integration.jobs_lab import SeededLab, keys
from tests.postgres import EmbeddedServer, as_text, embedded_server


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    """One of its own: the others must not miss it."""
    with embedded_server() as server:
        yield server


@pytest.fixture
def own_fleet(server: EmbeddedServer, seeded_lab: SeededLab, tmp_path: Path) -> Iterator[Fleet]:
    template = server.create()
    upgrade(as_text(template))
    with a_fleet(server, str(template.database), seeded_lab, tmp_path) as fleet:
        yield fleet


def test_jobs_outlast_a_database_that_was_killed(server: EmbeddedServer, own_fleet: Fleet) -> None:
    lab, worker, api = own_fleet.lab, own_fleet.starting_worker("only"), own_fleet.api()
    chip, other = lab.chip("one", run_s=0.1), lab.chip("two")
    job = api.calibrate(chip, samples=32 * 40)
    waits = [api.evaluate(other) for _ in range(2)]
    own_fleet.driver(job)
    server.kill()
    time.sleep(1)
    assert api.http.get(f"/v1/jobs/{job}").status_code == 503
    server.start()

    for job_id in (job, *waits, api.evaluate(chip)):
        done = lab.ended(job_id)
        assert done.status == JobStatus.SUCCEEDED, done.reason
        assert lab.events(job_id, "job.interrupted") == []
        assert max(keys(lab.events(job_id)).values()) == 1
    assert not overlaps(lab.drives())
    assert worker.stop() == 0
