"""What belongs to a damaged row is refused by the row's name, as the row itself is."""

from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from sqlalchemy import text
from structlog.testing import capture_logs

from service.db.base import Base
from service.db.tables import Chip, Job
from tests.hostile.poison import poison_rows
from tests.integration.upkeep_lab import Fleet
from tests.world import World, upload_headers

SENT: dict[str, dict[str, Any]] = {
    "PATCH /v1/chips/{chip_id}": {"json": {"name": "another name"}},
    "PUT /v1/chips/{chip_id}/policy": {"json": {"probe_every_s": 60.0}},
}
ENDLESS = "/events"  # of a job whose status is no word that ends one
PARTS = {"version": "1", "fingerprint_id": "no-fingerprint"}


def operations(world: World, prefix: str) -> list[str]:
    """Method and path of every operation on one resource and what belongs to it; deletions last."""
    paths = world.client.get("/v1/openapi.json").json()["paths"]
    methods = ("get", "put", "post", "patch", "delete")
    found = [
        f"{method.upper()} {path}"
        for path, described in paths.items()
        for method in methods
        if path.startswith(prefix) and method in described and not path.endswith(ENDLESS)
    ]
    return sorted(found, key=lambda one: ("DELETE" in one, one))


def send(world: World, operation: str, **ids: str) -> Response:
    method, path = operation.split()
    path = path.format(**PARTS | ids)
    client = TestClient(world.client.app, raise_server_exceptions=False)
    sent = SENT.get(operation, {})
    headers = {**world.client.headers, "Idempotency-Key": "".join(ids.values())}
    headers |= sent.get("headers", {})
    return client.request(method, path, **sent | {"headers": headers})


def assert_damaged(answer: Response, row_id: str, operation: str) -> None:
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (500, "/problems/damaged"), (operation, problem)
    assert row_id in problem["detail"], (operation, problem)


@pytest.mark.parametrize(
    ("table", "prefix", "parts"),
    [(Chip, "/v1/chips/{chip_id}", 11), (Job, "/v1/jobs/{job_id}", 4)],
    ids=["chips", "jobs"],
)
def test_what_belongs_to_a_damaged_row_is_refused_by_its_name(
    world: World, table: type[Base], prefix: str, parts: int
) -> None:
    chip = Fleet(world).chip("a", probe_every_s=3600.0)
    asked = operations(world, prefix)
    assert len(asked) >= parts
    name = prefix.partition("{")[2].rstrip("}")
    seen = {operation: set[int]() for operation in asked}
    for poison in poison_rows(world.context.database, table, chip):
        for operation in asked:
            with capture_logs():
                answer = send(world, operation, **{name: poison.id})
            seen[operation].add(answer.status_code)
            if answer.status_code >= 500:
                assert_damaged(answer, poison.id, f"{operation} {poison}")
    for operation, statuses in seen.items():
        assert 500 in statuses, operation  # what cannot be read
        assert statuses - {500}, operation  # what can be read is no reason to refuse


DAMAGES = {
    "teachers": ("network = '{'", "/v1/teachers/{id}"),
    "target_sets": ("summary = '{'", "/v1/target-sets/{id}"),
    "students": ("accuracy = '{'", "/v1/students/{id}"),
}


@pytest.mark.parametrize("table", DAMAGES)
def test_what_belongs_to_any_other_damaged_row_is_too(world: World, table: str) -> None:
    world.trained_student()
    change, prefix = DAMAGES[table]
    with world.context.database.writing() as session:
        row_id = str(session.scalar(text(f"SELECT id FROM {table}")))
        session.execute(text(f"UPDATE {table} SET {change}"))
    generic = {f"{name}_id": row_id for name in ("teacher", "target_set", "student")}
    block = b"no block"
    SENT["PUT /v1/target-sets/{target_set_id}/chunks/{index}"] = {
        "content": block,
        "headers": upload_headers(block),
        "params": {"split": "test"},
    }
    asked = operations(world, prefix.partition("{")[0] + "{")
    assert asked
    for operation in asked:
        with capture_logs():
            answer = send(world, operation, index="0", **generic)
        if answer.status_code not in (204, 409):  # it may be deleted; or is in use
            assert_damaged(answer, row_id, operation)


def test_the_events_of_a_job_that_cannot_be_read_are_refused_by_its_name(world: World) -> None:
    Fleet(world).chip("a")
    with world.context.database.writing() as session:
        job_id = str(session.scalar(text("SELECT id FROM jobs WHERE kind = 'calibrate'")))
    assert world.client.get(f"/v1/jobs/{job_id}/events").status_code == 200
    with world.context.database.writing() as session:
        session.execute(text("UPDATE jobs SET request = '{'"))
    assert_damaged(world.client.get(f"/v1/jobs/{job_id}/events"), job_id, "events")


def test_a_damaged_weight_version_is_named(world: World) -> None:
    chip = Fleet(world).chip("a")
    path = f"/v1/chips/{chip}/weights/1"
    assert world.client.get(f"{path}/block").status_code == 200
    with world.context.database.writing() as session:
        session.execute(text("UPDATE weight_versions SET accuracy = '{'"))
    for asked in (path, f"{path}/block"):
        assert_damaged(world.client.get(asked), chip, asked)
