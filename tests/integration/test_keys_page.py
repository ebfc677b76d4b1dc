"""The page of API keys: made and shown once, seen with their use, revoked after a question."""

import html
import re
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import text, update

from service.api.context import utc_now
from service.db.access_tables import ApiKey
from service.db.repositories.keys import KeyRepository
from service.keys import make_key
from service.states import Scope
from tests.world import World

OWN = {"Sec-Fetch-Site": "same-origin"}
FOREIGN = {"Sec-Fetch-Site": "cross-site"}
LIMIT = 200_000  # bytes


@pytest.fixture
def browser(world: World) -> TestClient:
    """A browser that is signed in with the first key, and follows no redirects."""
    return signed_in(world, world.key)


def signed_in(world: World, key: str) -> TestClient:
    browser = TestClient(world.client.app, follow_redirects=False)
    assert browser.post("/login", data={"key": key}, headers=OWN).status_code == 303
    return browser


def rows(browser: TestClient, address: str = "/keys") -> dict[str, list[str]]:
    """Cells by name: scopes, state, last use, expires, made."""
    body = browser.get(address).text.split("<tbody>")[1].split("</tbody>")[0]
    found = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    cells = (re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in found)
    plain = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in cells]
    return {row[0]: row[1:] for row in plain}


def made(browser: TestClient, **fields: object) -> tuple[str, str]:
    """Make a key with the form; return the key and its id."""
    form = {"name": "bench", "scope": ["read", "operate"], "days": ""} | fields
    answer = browser.post("/keys", data=form, headers=OWN)
    assert answer.status_code == 200, answer.text
    key = re.findall(r"tcal_[\w-]+", answer.text)
    assert len(key) == 1
    return key[0], id_of(browser, str(form["name"]))


def id_of(browser: TestClient, name: str) -> str:
    row = browser.get("/keys").text.split(f">{html.escape(name)}")[1].split("</tr>")[0]
    return re.findall(r'/audit\?key=([0-9a-f-]{36})"', row)[0]


def test_a_key_is_shown_once_and_kept_by_no_cache(browser: TestClient) -> None:
    form = {"name": "bench", "scope": ["read"], "days": ""}
    answer = browser.post("/keys", data=form, headers=OWN)
    key = re.findall(r"tcal_[\w-]+", answer.text)[0]
    assert answer.headers["cache-control"] == "no-store"
    assert "shown only now" in answer.text
    assert key not in browser.get("/keys").text
    assert key not in browser.get("/audit").text


def test_a_key_that_was_made_works_within_its_scopes(world: World, browser: TestClient) -> None:
    key, _ = made(browser, name="reader <1>", scope=["read"])
    bearer = {"Authorization": f"Bearer {key}"}
    client = TestClient(world.client.app)
    assert client.get("/v1/chips", headers=bearer).status_code == 200
    assert client.post("/v1/chips", json={}, headers=bearer).status_code == 403
    assert rows(browser)["reader &lt;1&gt;"][:2] == ["read", "valid"]


def test_expiry_and_last_use_are_shown(world: World, browser: TestClient) -> None:
    _, key_id = made(browser, days="7")
    assert rows(browser)["bench"][1:4] == ["valid", "never", "in 6 d"]
    with world.context.database.writing() as session:
        past = utc_now() - timedelta(hours=3)
        values = {"expires_at": past, "last_used_at": past}
        session.execute(update(ApiKey).where(ApiKey.id == key_id).values(**values))
    assert rows(browser)["bench"][1:4] == ["expired", "3 h ago", "3 h ago"]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": " "}, "Give the key a name"),
        ({"scope": []}, "Choose at least one scope"),
        ({"scope": ["owner"]}, "scopes is not valid"),
        ({"days": "0"}, "whole number from 1"),
        ({"days": "soon"}, "whole number from 1"),
        ({"days": "9" * 30}, "whole number from 1"),
        ({"name": "x" * 1000}, "name is not valid"),
    ],
)
def test_a_wrong_form_is_shown_again_and_makes_nothing(
    browser: TestClient, wrong: dict[str, object], says: str
) -> None:
    before = len(rows(browser))
    form = {"name": "mine", "scope": ["agent"], "days": "5"} | wrong
    answer = browser.post("/keys", data=form, headers=OWN)
    assert answer.status_code == 422
    assert says in answer.text
    assert "tcal_" not in answer.text
    if "scope" not in wrong:
        assert 'value="agent" checked' in answer.text
    assert len(rows(browser)) == before


def test_revoking_asks_first_and_says_what_it_means(world: World, browser: TestClient) -> None:
    key, key_id = made(browser)
    question = browser.get(f"/keys/{key_id}/revoke")
    assert "This cannot be undone." in question.text
    assert "you will be signed out" not in question.text
    assert rows(browser)["bench"][1] == "valid"  # asking changes nothing
    answer = browser.post(f"/keys/{key_id}/revoke", headers=OWN)
    assert (answer.status_code, answer.headers["location"]) == (303, "/keys")
    assert rows(browser)["bench"][1] == "revoked"
    bearer = {"Authorization": f"Bearer {key}"}
    assert TestClient(world.client.app).get("/v1/chips", headers=bearer).status_code == 401
    changes = world.client.get("/v1/audit?action=key.revoked").json()["items"]
    assert [change["subject"] for change in changes] == [key_id]


def test_the_last_administrator_stays(browser: TestClient) -> None:
    mine = id_of(browser, "first key")
    assert "you will be signed out" in browser.get(f"/keys/{mine}/revoke").text
    answer = browser.post(f"/keys/{mine}/revoke", headers=OWN)
    assert answer.status_code == 409
    assert "create another one first" in answer.text
    made(browser, name="another", scope=["admin"])
    assert browser.post(f"/keys/{mine}/revoke", headers=OWN).status_code == 303  # the control
    assert browser.get("/keys").headers["location"].startswith("/login?next=/keys")


def test_no_other_site_can_make_or_revoke_a_key(browser: TestClient) -> None:
    _, key_id = made(browser)
    before = rows(browser)
    form = {"name": "stolen", "scope": ["admin"]}
    assert browser.post("/keys", data=form, headers=FOREIGN).status_code == 403
    assert browser.post("/keys", data=form).status_code == 403  # nor who says nothing of himself
    assert browser.post(f"/keys/{key_id}/revoke", headers=FOREIGN).status_code == 403
    assert rows(browser) == before
    assert browser.post("/keys", data=form, headers=OWN).status_code == 200  # the control


@pytest.mark.parametrize("scopes", [["read"], ["read", "operate"]])
def test_other_keys_are_refused_and_see_no_link(
    world: World, browser: TestClient, scopes: list[str]
) -> None:
    key, key_id = made(browser, scope=scopes)
    reader = signed_in(world, key)
    assert 'href="/keys"' not in reader.get("/").text
    assert 'href="/keys"' in browser.get("/").text  # the control
    form = {"name": "more", "scope": ["admin"]}
    assert reader.get("/keys").status_code == 403
    assert reader.post("/keys", data=form, headers=OWN).status_code == 403
    assert reader.get(f"/keys/{key_id}/revoke").status_code == 403
    assert reader.post(f"/keys/{key_id}/revoke", headers=OWN).status_code == 403
    assert "first key" not in reader.get("/keys").text
    assert set(rows(browser)) == {"bench", "first key (you)"}


def test_without_a_session_nothing_is_made(world: World) -> None:
    stranger = TestClient(world.client.app, follow_redirects=False)
    form = {"name": "more", "scope": ["admin"]}
    assert stranger.get("/keys").headers["location"] == "/login?next=/keys"
    assert stranger.post("/keys", data=form, headers=OWN).status_code == 303
    assert len(world.client.get("/v1/keys").json()["items"]) == 1


def test_a_damaged_key_hides_no_other(world: World, browser: TestClient) -> None:
    _, key_id = made(browser)
    for damage in ("""scopes = '["no such scope"]'""", "scopes = '{'", "created_at = '17'"):
        with world.context.database.writing() as session:
            session.execute(text(f"UPDATE api_keys SET {damage} WHERE id = :id"), {"id": key_id})
        found = rows(browser)
        assert found["first key (you)"][1] == "valid"
        assert found["its row cannot be read"][1] == "unreadable"


def test_pages_hold_every_key_once_and_stay_small(world: World, browser: TestClient) -> None:
    with world.context.database.writing() as session:
        for number in range(230):
            KeyRepository(session).add(make_key(f"key {number}", [Scope.READ], utc_now()).row)
    seen, address = list[str](), "/keys"
    while address:
        page = browser.get(address)
        assert len(page.content) < LIMIT
        seen += rows(browser, address)
        older = re.findall(r'<a href="([^"]+)">Older', page.text)
        address = older[0].replace("&amp;", "&") if older else ""
    assert len(seen) == len(set(seen)) == 231


def test_a_key_that_does_not_exist_cannot_be_revoked(browser: TestClient) -> None:
    assert browser.get("/keys/nobody/revoke").status_code == 404
    assert browser.post("/keys/nobody/revoke", headers=OWN).status_code == 404
