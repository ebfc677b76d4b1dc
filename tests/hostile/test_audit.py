"""Every change leaves an event that says who, from where and when, and that cannot be changed."""

import ast
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import safetensors.numpy
from fastapi.testclient import TestClient
from sqlalchemy import delete, text, update
from sqlalchemy.exc import DBAPIError
from typer.testing import CliRunner

import service
from service.api.context import utc_now
from service.app import create_app
from service.audit_chain import BrokenChainError, Head, check_chain
from service.cli.main import app
from service.db.audit_tables import AuditEvent
from service.db.repositories.audit import Actor, AuditFilter, AuditRepository
from service.db.repositories.paging import PageRequest
from service.db.session import Database
from service.schemas.audit import AuditView
from service.settings import Settings
from tests.agents import serving
from tests.recording import RecordingEngine
from tests.world import World, small_samples

CHANGES_NOTHING_OF_A_USER = {
    "hear",  # heartbeats, every few seconds
    "_is_made",  # takes the lock of an Idempotency-Key, and stores nothing
}


def trail(world: World, **wanted: Any) -> list[Any]:
    """The events, oldest first."""
    query: dict[str, Any] = {"sort": "created_at", "limit": 200} | wanted
    items: list[Any] = world.client.get("/v1/audit", params=query).json()["items"]
    return items


def everything_done_once(world: World) -> list[str]:
    """Make every kind of change over HTTP; return the keys that were made and sent."""
    http, block = world.client, safetensors.numpy.save(small_samples())
    other = http.post("/v1/keys", json={"name": "b", "scopes": ["agent"]}).json()
    http.delete(f"/v1/keys/{other['id']}")
    teacher = world.upload_teacher()["id"]
    sets = world.announce_targets(teacher)["id"]
    for index, split in enumerate(("calibration", "test")):
        assert world.put_chunk(sets, index, split, block).is_success
    job = world.post_once(f"/v1/target-sets/{sets}/complete").json()["id"]
    http.post(f"/v1/jobs/{job}/cancel")
    http.post(f"/v1/jobs/{job}/cancel")  # changes nothing
    world.post_once(f"/v1/jobs/{job}/retry")
    student = world.trained_student()
    chip = world.register_chip()["id"]
    world.calibrate(chip, student)
    http.patch(f"/v1/chips/{chip}", json={"name": "renamed"})
    http.put(f"/v1/chips/{chip}/policy", json={})
    http.delete(f"/v1/chips/{chip}/policy")
    http.delete(f"/v1/chips/{chip}")
    http.delete(f"/v1/teachers/{world.upload_teacher()['id']}")
    browser = TestClient(http.app)
    browser.post("/v1/session", json={"key": "tcal_wrong"})
    browser.post("/v1/session", json={"key": world.key})
    browser.delete("/v1/session", headers={"Sec-Fetch-Site": "same-origin"})
    return [world.key, other["key"], "tcal_wrong"]


@pytest.mark.both_databases
def test_every_change_leaves_an_event_with_key_address_and_time(world: World) -> None:
    began = utc_now()
    keys = everything_done_once(world)
    found = trail(world)
    counts: dict[str, int] = {}
    for event in found:
        counts[event["action"]] = counts.get(event["action"], 0) + 1
    assert counts == {
        "key.created": 2,  # the first one, by the service itself
        "key.revoked": 1,
        "teacher.uploaded": 3,
        "teacher.deleted": 1,
        "target_set.created": 2,
        "target_set.chunk_stored": 4,
        "target_set.completed": 2,
        "job.cancelled": 1,
        "job.retried": 1,
        "job.submitted": 2,
        "chip.registered": 1,
        "chip.renamed": 1,
        "chip.retired": 1,
        "policy.set": 1,
        "policy.deleted": 1,
        "key.refused": 1,
        "session.opened": 1,
        "session.closed": 1,
    }
    first, *later = found
    assert (first["action"], first["key_id"], first["address"]) == ("key.created", None, None)
    mine = first["subject"]
    assert {event["key_id"] for event in later if event["action"] != "key.refused"} == {mine}
    assert {event["address"] for event in later} == {"testclient"}
    assert all(event["created_at"] >= f"{began:%Y-%m-%dT%H:%M:%S}" for event in later)
    assert "renamed" in str(found)  # the control: what was sent is told, but for the keys
    assert not [key for key in keys if key in str(found)]
    assert check_chain(map(AuditView.model_validate, found)).seq == len(found)


def test_what_was_refused_leaves_no_event_of_a_change(world: World) -> None:
    before = len(trail(world))
    world.register_chip("a")
    assert world.client.post("/v1/chips", json={"name": "a", "settings": {}}).status_code == 422
    chip = {"name": "a", "settings": {"preset": "ideal", "seed": 1}}
    assert world.client.post("/v1/chips", json=chip).status_code == 409
    assert len(trail(world)) == before + 1


class Function(NamedTuple):
    """A function, and the names of those that it calls."""

    name: str
    called: frozenset[str]


def functions_of(path: Path) -> Iterator[Function]:
    """Read the functions of a module."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
            names = {call.id for call in calls if isinstance(call, ast.Name)}
            attributes = {call.attr for call in calls if isinstance(call, ast.Attribute)}
            yield Function(node.name, frozenset(names | attributes))


def silent_writers(functions: Sequence[Function]) -> set[str]:
    """Name the functions that write, and record nothing, not through a function either."""
    recording = {"record"}
    while more := {f.name for f in functions if f.called & recording} - recording:
        recording |= more
    return {f.name for f in functions if "writing" in f.called and f.name not in recording}


def test_no_route_that_writes_is_without_an_event() -> None:
    folder = Path(service.__file__).parent
    files = [*(folder / "api").rglob("*.py"), *(folder / "web").rglob("*.py")]
    found = [f for path in files if path.name != "key_use.py" for f in functions_of(path)]
    assert len([f for f in found if "writing" in f.called]) > 15
    assert silent_writers(found) == CHANGES_NOTHING_OF_A_USER
    # The control: without the helpers that record, the routes that call them are found.
    helpers = {"set_policy", "drop_policy"}
    assert {"put_policy", "delete_policy"} <= silent_writers(
        [f for f in found if f.name not in helpers]
    )


def test_filters_and_pages(world: World) -> None:
    ids = [world.register_chip(f"bench {number}")["id"] for number in range(3)]
    assert [event["subject"] for event in trail(world, action="chip.registered")] == ids
    assert [event["subject"] for event in trail(world, subject=ids[1])] == [ids[1]]
    assert trail(world, key_id="nobody") == trail(world, address="10.0.0.1") == []
    whole = trail(world)
    middle = whole[2]["created_at"]
    assert trail(world, since=middle) + trail(world, until=middle) == whole[2:] + whole[:2]
    pages, cursor = [], None
    while True:
        query = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = world.client.get("/v1/audit", params=query).json()
        pages += page["items"]
        if (cursor := page["next_cursor"]) is None:
            break
    assert pages == whole[::-1]


def test_the_trail_is_for_administrators_alone(world: World) -> None:
    body = {"name": "reader", "scopes": ["read", "operate"]}
    key = world.client.post("/v1/keys", json=body).json()["key"]
    answer = world.client.get("/v1/audit", headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer.json()["needed"]) == (403, "admin")


@pytest.mark.both_databases
@pytest.mark.parametrize("change", ["update", "delete"])
def test_the_database_refuses_to_change_an_event(world: World, change: str) -> None:
    before = trail(world)
    statement = update(AuditEvent).values(address="") if change == "update" else delete(AuditEvent)
    with (
        pytest.raises(DBAPIError, match="neither changed nor deleted"),
        world.context.database.writing() as session,
    ):
        session.execute(statement)
    assert trail(world) == before


def views(database: Database) -> list[AuditView]:
    with database.reading() as session:
        rows = AuditRepository(session).list(AuditFilter(), PageRequest(1000, oldest_first=True))
        return [AuditView.model_validate(row) for row in rows.rows]


@pytest.mark.both_databases
def test_changes_at_the_same_time_make_one_chain(database: Database) -> None:
    def change(who: int) -> None:
        for number in range(5):
            with database.writing() as session:
                audit = AuditRepository(session)
                audit.record(Actor(str(who)), "chip.renamed", str(number), utc_now(), name="Ü")
                audit.record(Actor(str(who)), "chip.renamed", str(number), utc_now())

    threads = [threading.Thread(target=change, args=(who,)) for who in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert check_chain(views(database)).seq == 40


def test_what_somebody_with_the_database_changes_is_noticed(database: Database) -> None:
    with database.writing() as session:
        for name in "abc":
            AuditRepository(session).record(Actor(), "key.created", name, utc_now())
    whole = views(database)
    head = check_chain(whole)
    assert check_chain(whole, head) == head
    changed = whole[1].model_copy(update={"action": "chip.renamed"})
    late = whole[1].model_copy(update={"created_at": utc_now()})
    for broken in (
        [whole[0], changed, whole[2]],
        [whole[0], late, whole[2]],
        whole[::2],
        whole[1:],
    ):
        with pytest.raises(BrokenChainError):
            check_chain(broken)
    assert check_chain(whole[:2]).seq == 2  # a cut end looks whole, unless the head was noted
    with pytest.raises(BrokenChainError, match="missing"):
        check_chain(whole[:2], head)
    with pytest.raises(BrokenChainError):
        check_chain(whole, Head(2, "0" * 64))


def test_the_end_of_an_empty_trail_is_found_again_at_the_start_of_every_later_one(
    database: Database,
) -> None:
    empty = check_chain([])
    assert check_chain([], empty) == empty
    with database.writing() as session:
        AuditRepository(session).record(Actor(), "key.created", "a", utc_now())
    whole = views(database)
    assert check_chain(whole, empty) == check_chain(whole)
    with pytest.raises(BrokenChainError, match="missing"):
        check_chain(whole, Head(0, "1" * 64))


def test_a_stranger_cannot_fill_the_trail(world: World) -> None:
    stranger = TestClient(world.client.app, headers={"Authorization": "Bearer tcal_wrong"})
    assert {stranger.get("/v1/chips").status_code for _ in range(12)} == {401}
    assert len(trail(world, action="key.refused")) == 5


def test_the_trail_is_shown_and_checked_on_the_command_line(settings: Settings) -> None:
    with serving(create_app(settings, RecordingEngine())) as url:
        environment = {"TANDEMCAL_URL": url, "COLUMNS": "80"}
        environment |= {"TANDEMCAL_KEY": settings.key_file.read_text().strip()}

        def command(*arguments: str) -> Any:
            return CliRunner().invoke(app, ["audit", *arguments], env=environment)

        assert "key.created" in command("list").output
        assert max(map(len, command("list").output.splitlines())) <= 80
        noted = command("verify").output.splitlines()[-1]
        assert noted.startswith("1:")
        assert command("verify", "--known", noted).exit_code == 0
        database = Database(settings.database)
        with database.writing() as session:  # whoever owns the file can drop the triggers
            session.execute(text("DROP TRIGGER audit_refuses_update"))
            session.execute(text("UPDATE audit_events SET address = '10.0.0.1'"))
        database.close()
        broken = command("verify")
        assert (broken.exit_code, "Event 1 was changed" in broken.output) == (1, True)
