"""The status of a job is answered in one way, however it is asked for, and as it stands now."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import update

from service.api import job_reader
from service.api.job_reader import JobReader
from service.api.snapshots import JobSnapshot
from service.api.views import job_view
from service.db.repositories.jobs import JobRepository
from service.db.tables import Job
from service.errors import JobNotFoundError
from service.states import Scope
from tests.integration.asked_jobs import calibration
from tests.statements import statements
from tests.world import World

pytestmark = pytest.mark.both_databases
_DATED = ("date",)  # headers that differ from one answer to the next


def answered(world: World, path: str, **headers: str) -> tuple[Any, ...]:
    """Status, headers and body of an answer that is as if no parameter had been sent."""
    found = world.client.get(path, headers=headers)
    kept = {name: text for name, text in found.headers.items() if name not in _DATED}
    return found.status_code, kept, found.content


def both_ways(world: World, path: str, **headers: str) -> tuple[Any, ...]:
    """The answer without parameters; one that changes nothing must not change the answer."""
    short, documented = (answered(world, path + more, **headers) for more in ("", "?wait=0"))
    assert short == documented
    return short


def test_a_request_without_parameters_is_answered_as_one_with_them(world: World) -> None:
    job = world.submit(calibration(world))
    path = f"/v1/jobs/{job['id']}"
    status, headers, body = both_ways(world, path)
    assert (status, headers["cache-control"]) == (200, "no-cache")
    assert both_ways(world, path, **{"If-None-Match": headers["etag"]})[::2] == (304, b"")
    assert both_ways(world, path, **{"If-None-Match": f'W/{headers["etag"]}, "b"'})[0] == 304
    assert both_ways(world, path, **{"If-None-Match": "*"})[0] == 304
    assert both_ways(world, path, **{"If-None-Match": '"another"'})[2] == body
    assert both_ways(world, path, **{"If-None-Match": "x" * 1001})[0] == 422
    assert both_ways(world, "/v1/jobs/nothing")[0] == 404
    assert both_ways(world, f"/v1/jobs/{'x' * 37}")[0] == 422
    assert both_ways(world, path, Authorization="Bearer wrong")[0] == 401


def test_a_key_without_the_scope_reads_no_job(world: World) -> None:
    job = world.submit(calibration(world))
    body = {"name": "of an agent", "scopes": [Scope.AGENT]}
    key = world.client.post("/v1/keys", json=body).json()["key"]
    stranger = TestClient(world.client.app, headers={"Authorization": f"Bearer {key}"})
    for path in (f"/v1/jobs/{job['id']}", f"/v1/jobs/{job['id']}?wait=0"):
        assert stranger.get(path).status_code == 403


def read(reader: JobReader, *ids: str) -> list[JobSnapshot]:
    found = reader.read(ids)
    assert all(isinstance(one, JobSnapshot) for one in found)
    return [one for one in found if isinstance(one, JobSnapshot)]


def test_jobs_are_read_together_and_made_once(world: World) -> None:
    request = calibration(world)
    ids = [world.submit(request)["id"] for _ in range(4)]
    database = world.context.database
    reader = JobReader(database)
    with statements(database) as first:
        snapshots = read(reader, *ids)
    with statements(database) as again:
        assert read(reader, *ids, ids[0]) == [*snapshots, snapshots[0]]
    assert (len(first), len(again)) == (4, 3)  # the rows, their places, their chips; once, the rows
    with database.reading() as session:
        for job_id, snapshot in zip(ids, snapshots, strict=True):
            view = job_view(session, JobRepository(session).get(job_id))
            assert snapshot.body.decode() == view.model_dump_json()
    (nothing,) = reader.read(["nothing"])
    assert isinstance(nothing, JobNotFoundError)


def test_whatever_changes_is_made_anew(world: World) -> None:
    request = calibration(world)
    first, second = (world.submit(request)["id"] for _ in range(2))
    database = world.context.database
    reader = JobReader(database)
    before = read(reader, second)
    with database.writing() as session:  # JSON inside the row
        changed = update(Job).where(Job.id == second).values(progress={"phase": "before"})
        session.execute(changed)
    with_progress = read(reader, second)
    assert b'"phase":"before"' in with_progress[0].body
    assert world.client.post(f"/v1/jobs/{first}/cancel").status_code == 202  # of another row
    moved = read(reader, second)
    assert b'"queue_position":1' in moved[0].body
    assert len({one[0].etag for one in (before, with_progress, moved)}) == 3


def test_what_was_asked_for_long_ago_is_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = calibration(world)
    ids = [world.submit(request)["id"] for _ in range(4)]
    database = world.context.database
    reader = JobReader(database)
    size = max(len(one.body) for one in read(reader, *ids))
    monkeypatch.setattr(job_reader, "_KEPT_BYTES", 2 * size)
    for job_id in ids:
        read(reader, job_id)
    asked = []
    for job_id in (ids[3], ids[0]):
        with statements(database) as found:
            read(reader, job_id)
        asked.append(len(found))
    assert asked == [3, 4]
