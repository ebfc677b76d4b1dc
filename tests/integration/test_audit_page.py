"""The audit page: who did what, filters in the address, pages by cursor, the chain of digests."""

import re
from datetime import timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text

from service.api.context import utc_now
from service.db.repositories.audit import Actor, AuditRepository
from service.web.audit import trail
from tests.world import World

LIMIT = 200_000  # bytes


def rows(world: World, address: str = "/audit") -> list[list[str]]:
    """Cells of the table: number, time, key, address, change, of what, details."""
    page = world.client.get(address).text
    if "<tbody>" not in page:
        return []
    body = page.split("<tbody>")[1].split("</tbody>")[0]
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    cells = (re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in found)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]


def chain(world: World) -> str:
    page = world.client.get("/audit").text
    return re.sub(r"<[^>]+>", "", page.split('<p class="chain">')[1].split("</p>")[0]).strip()


def keyed(world: World, *scopes: str) -> TestClient:
    """A client with a key of its own."""
    made = world.client.post("/v1/keys", json={"name": "of a reader", "scopes": scopes}).json()
    return TestClient(world.client.app, headers={"Authorization": f"Bearer {made['key']}"})


@pytest.fixture
def tampering(world: World) -> World:
    """A world in which the database's own guard against changes of the trail was taken away."""
    with world.context.database.writing() as session:
        query = "SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name = :table"
        names = session.scalars(text(query), {"table": "audit_events"}).all()
        for name in names:
            session.execute(text(f"DROP TRIGGER {name}"))
    assert names
    return world


def change(world: World, statement: str, **values: Any) -> None:
    with world.context.database.writing() as session:
        session.execute(text(statement), values)


def test_a_change_is_told_with_time_key_address_and_subject(world: World) -> None:
    chip = world.register_chip("bench <1>")["id"]
    world.client.patch(f"/v1/chips/{chip}", json={"name": "bench <2>"})
    newest = rows(world)[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", newest[1])
    assert newest[2:6] == ["first key", "testclient", "chip.renamed", "chip bench &lt;2&gt;"]
    assert newest[6] == ""  # its name is told already
    world.client.patch(f"/v1/chips/{chip}", json={"name": "bench <3>"})
    world.trained_student()
    told = {row[4]: row[6] for row in reversed(rows(world))}
    assert [row[6] for row in rows(world) if row[4] == "chip.renamed"] == [
        "",
        "name bench &lt;2&gt;",
    ]
    assert re.fullmatch(r"index 1; sha256 [0-9a-f]{12}", told["target_set.chunk_stored"])
    page = world.client.get("/audit").text
    assert f'href="/chips/{chip}">chip bench &lt;3&gt;</a>' in page
    assert "bench <2>" not in page


def test_details_have_names_in_place_of_ids(world: World) -> None:
    student, chip = world.trained_student(), world.register_chip("bench 7")["id"]
    world.calibrate(chip, student)
    newest = rows(world)[0]
    assert (newest[4], newest[6]) == ("job.submitted", "kind calibrate; chip bench 7")
    assert not [row for row in rows(world) if chip[-8:] in " ".join(row)]


def test_what_nobody_and_the_service_did_is_told_apart(world: World) -> None:
    TestClient(world.client.app).post("/v1/session", json={"key": "tcal_wrong"})
    assert rows(world)[0][2:5] == ["nobody signed in", "testclient", "key.refused"]
    assert rows(world)[-1][2:6] == ["the service", "–", "key.created", "key first key"]


def test_filters_stand_in_the_address(world: World) -> None:
    began = utc_now()
    world.register_chip("a")
    keyed(world, "read", "operate").post("/v1/chips", json=_chip("b"))
    everything = rows(world)
    assert [row[4] for row in rows(world, "/audit?action=chip.registered")] == [
        "chip.registered"
    ] * 2
    assert [row[5] for row in rows(world, "/audit?key=of a reader")] == ["chip b"]
    assert rows(world, "/audit?key=no such key") == []
    hour = timedelta(hours=1)
    for query, count in (
        (f"since={_form(began + hour)}", 0),
        (f"since={_form(began - hour)}", len(everything)),
        (f"until={_form(began - hour)}", 0),
        (f"until={_form(began + hour)}", len(everything)),
        ("since=&until=&key=&action=", len(everything)),
    ):
        assert len(rows(world, f"/audit?{query}")) == count, query
    page = world.client.get(f"/audit?since={_form(began)}&action=chip.renamed").text
    assert f'name="since" value="{_form(began)}"' in page
    assert "<option selected>chip.renamed</option>" in page
    assert "No change is like this." in page


def _form(at: Any) -> str:
    return f"{at:%Y-%m-%dT%H:%M}"


def _chip(name: str) -> dict[str, Any]:
    return {"name": name, "settings": {"preset": "ideal", "seed": 1}}


@pytest.mark.parametrize("query", ["since=yesterday", "until=9999999", "cursor=nobody", "other=1"])
def test_a_filter_that_is_not_valid_is_refused(world: World, query: str) -> None:
    answer = world.client.get(f"/audit?{query}", headers={"Accept": "text/html"})
    assert (answer.status_code, "<h1>" in answer.text) == (422, True)


def test_pages_hold_every_change_once_and_stay_small(world: World) -> None:
    with world.context.database.writing() as session:
        for number in range(250):
            told = {"name": f"{number} " + "x" * 500}
            AuditRepository(session).record(Actor(None, "1.2.3.4"), "a.b", "c", utc_now(), **told)
    seen, address = list[str](), "/audit?action=a.b"
    while address:
        page = world.client.get(address)
        assert len(page.content) < LIMIT
        seen += [row[0] for row in rows(world, address)]
        older = re.findall(r'<a href="([^"]+)">Older', page.text)
        address = older[0].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 250
    assert seen == sorted(seen, key=int, reverse=True)


def test_the_chain_is_whole_until_an_event_is_changed(tampering: World) -> None:
    world = tampering
    world.register_chip("a")
    assert chain(world) == "whole All 2 events are chained; none was changed."
    head = re.findall(r"--known (\d+:[0-9a-f]{64})", world.client.get("/audit").text)
    assert len(head) == 1
    change(world, "UPDATE audit_events SET address = '10.0.0.1' WHERE seq = 2")
    assert chain(world) == "broken The trail is not whole: Event 2 was changed."
    assert world.client.get("/audit").status_code == 200


def test_an_event_that_was_removed_breaks_the_chain(tampering: World) -> None:
    for name in ("a", "b", "c"):
        tampering.register_chip(name)
    change(tampering, "DELETE FROM audit_events WHERE seq = 3")
    assert chain(tampering).startswith("broken")


def test_a_long_trail_says_how_much_of_it_was_checked(
    tampering: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail, "_CHECKED", 3)
    for name in ("a", "b", "c", "d"):
        tampering.register_chip(name)
    assert chain(tampering) == "whole The newest 3 events of 5 are chained; none was changed."
    change(tampering, "UPDATE audit_events SET address = '10.0.0.1' WHERE seq = 2")
    assert chain(tampering).startswith("whole")  # it was not looked at, and the sentence says so
    change(tampering, "UPDATE audit_events SET address = '10.0.0.1' WHERE seq = 3")
    assert chain(tampering).startswith("broken")


@pytest.mark.parametrize("damage", ["data = '{'", "data = '[1]'", "created_at = 'infinity'"])
def test_a_damaged_event_hides_no_other(tampering: World, damage: str) -> None:
    world = tampering
    for name in ("a", "b"):
        world.register_chip(name)
    change(world, f"UPDATE audit_events SET {damage} WHERE seq = 2")
    found = {row[0]: row[4] for row in rows(world)}
    assert (found["1"], found["3"]) == ("key.created", "chip.registered")
    assert found["2"] == "unreadable"
    assert chain(world).startswith("broken")


def test_the_page_and_its_link_are_for_administrators(world: World) -> None:
    reader = keyed(world, "read", "operate")
    answer = reader.get("/audit", headers={"Accept": "text/html"})
    assert answer.status_code == 403
    assert "needs a key with the scope" in answer.text
    assert "chip.registered" not in answer.text
    for client, linked in ((reader, False), (world.client, True)):
        page = client.get("/").text
        assert ('href="/audit"' in page, 'href="/keys"' in page) == (linked, linked)
        assert 'href="/queue"' in page
    stranger = TestClient(world.client.app, follow_redirects=False)
    assert stranger.get("/audit").headers["location"] == "/login?next=/audit"
