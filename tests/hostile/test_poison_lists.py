"""Rows that decode but do not fit their view: every list shows the others, and names them."""

from typing import Any, NamedTuple

import pytest
from httpx2 import Response
from sqlalchemy import text
from structlog.testing import capture_logs

from service.api import lists
from service.db.base import Base
from service.db.tables import Chip, Job
from tests.hostile.poisoned_fleet import PoisonedFleet
from tests.integration.upkeep_lab import Fleet
from tests.world import World, teacher_block


class Damage(NamedTuple):
    """A list, the table behind it, and what no row of it may hold, as SQL."""

    path: str
    table: str
    change: str


DAMAGES = (
    Damage("/v1/teachers", "teachers", "name = x'ff'"),
    Damage("/v1/target-sets", "target_sets", "state = 'no such word'"),
    Damage("/v1/students", "students", "accuracy = '[1]'"),
    Damage("/v1/chips", "chips", "health = 'no such word'"),
    Damage("/v1/chips", "chips", """settings = '{"note": "\\ud800"}'"""),
    Damage("/v1/chips/{chip}/weights", "weight_versions", "accuracy = '[1]'"),
    Damage("/v1/chips/{chip}/fingerprints", "fingerprints", "predicted_loss = '[1]'"),
    Damage("/v1/chips/{chip}/history", "jobs", "request = '[1]'"),
    Damage("/v1/jobs", "jobs", "status = 'no such word'"),
    Damage("/v1/jobs", "jobs", "result = '[1]'"),
    Damage("/v1/keys", "api_keys", """scopes = '["no such scope"]'"""),
)


# The view of a version has no id of its own.
NEWEST_WEIGHTS = text("SELECT id FROM weight_versions WHERE chip_id = :chip ORDER BY id DESC")


def inhabited(world: World) -> str:
    """Fill every list with two rows or more; return a chip."""
    fleet = Fleet(world)
    chip, _ = fleet.chip("first"), fleet.chip("second")
    world.submit({"kind": "probe", "chip_id": chip})
    fleet.probed(chip, 1.0)
    world.trained_student()
    world.client.post("/v1/keys", json={"name": "reader", "scopes": ["read"]})
    world.upload_teacher(teacher_block(name="another"))
    return chip


def listed(world: World, path: str) -> tuple[list[Any], list[str]]:
    """The items of a list and the ids of what it leaves out."""
    answer = world.client.get(path, params={"limit": 200})
    assert answer.status_code == 200, answer.text
    assert answer.json()["next_cursor"] is None
    return answer.json()["items"], answer.json()["unreadable"]


def alone(world: World, path: str, item: dict[str, Any]) -> Response | None:
    """The answer with one item of a list; None for a key, which a list alone shows."""
    if path == "/v1/keys":
        return None
    folder = "/v1/jobs" if path.endswith("/history") else path
    name = item["version"] if path.endswith("/weights") else item["id"]
    return world.client.get(f"{folder}/{name}")


def refused_by_name(answer: Response | None) -> bool:
    """Whether a row is refused as damaged, in a sentence that names it."""
    if answer is None:
        return True
    named = answer.json()["instance"].rpartition("/")[2] in answer.json()["detail"]
    return named and (answer.status_code, answer.json()["type"]) == (500, "/problems/damaged")


def test_a_damaged_row_hides_no_other_and_is_named(world: World) -> None:
    chip = inhabited(world)
    for path, table, change in DAMAGES:
        shown = path.format(chip=chip)
        before, nothing = listed(world, shown)
        assert before
        assert nothing == []
        whole = alone(world, shown, before[0])  # the control
        assert whole is None or whole.status_code == 200, whole.text
        with world.context.database.writing() as session:
            victim = before[0].get("id") or session.scalar(NEWEST_WEIGHTS, {"chip": chip})
            column = change.partition(" = ")[0]
            old = session.scalar(
                text(f"SELECT {column} FROM {table} WHERE id = :id"), {"id": victim}
            )
            damage = f"UPDATE {table} SET {change} WHERE id = '{victim}'"
            session.connection().exec_driver_sql(damage)
        with capture_logs() as logs:
            items, unreadable = listed(world, shown)
        assert items == before[1:], change
        assert refused_by_name(alone(world, shown, before[0])), change
        assert unreadable == [victim]
        assert any(line.get("id") == victim for line in logs)
        restore = text(f"UPDATE {table} SET {column} = :old WHERE id = :id")
        with world.context.database.writing() as session:
            session.execute(restore, {"old": old, "id": victim})
        assert listed(world, shown) == (before, [])


def test_a_damaged_event_of_the_audit_trail_is_named(world: World) -> None:
    before, _ = listed(world, "/v1/audit")
    insert = "INSERT INTO audit_events (seq, action, data, created_at, previous, sha256) "
    insert += "VALUES (99, 'a', '[1]', '2026-01-01 00:00:00', 'a', 'b')"
    with world.context.database.writing() as session:
        session.execute(text(insert))
    with capture_logs():
        assert listed(world, "/v1/audit") == (before, ["99"])


@pytest.mark.parametrize("table", [Chip, Job])
def test_lists_of_poisoned_rows_show_the_good_ones_and_count_all(
    world: World, table: type[Base], monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = PoisonedFleet(world, table)
    monkeypatch.setattr(lists, "LIST_BYTES", 20_000)  # pages end where they are full, too
    path, cursor = ("/v1/chips" if table is Chip else "/v1/jobs"), None
    items, unreadable = list[Any](), list[str]()
    with capture_logs():
        while True:
            answer = world.client.get(path, params={"cursor": cursor} if cursor else {})
            assert answer.status_code == 200, answer.text
            items += answer.json()["items"]
            unreadable += answer.json()["unreadable"]
            if (cursor := answer.json()["next_cursor"]) is None:
                break
    ids = [*(item["id"] for item in items), *unreadable]
    with world.context.database.reading() as session:
        stored = set(session.scalars(text(f"SELECT id FROM {table.__tablename__}")))
    assert len(ids) == len(set(ids))  # none comes twice
    assert set(ids) == stored  # and none is lost
    shown = {item["id" if table is Chip else "chip_id"] for item in items}
    assert set(fleet.good) <= shown
    assert len(unreadable) > 3
