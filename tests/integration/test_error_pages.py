"""What a browser is shown where there is nothing else to show: a page, and for programs JSON."""

import pytest
from fastapi.testclient import TestClient

from service.states import Scope
from tests.world import World

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
OWN = {"Sec-Fetch-Site": "same-origin"}


def key_with(world: World, *scopes: Scope) -> str:
    answer = world.client.post("/v1/keys", json={"name": "short", "scopes": list(scopes)})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["key"])


@pytest.fixture
def browser(world: World) -> TestClient:
    """Open a browser without a key, which follows no redirects."""
    return TestClient(world.client.app, follow_redirects=False, headers=OWN)


@pytest.mark.parametrize("path", ["/nowhere", "/jobs/0", "/jobs/0/log/1", "/static/none/of/this"])
def test_a_browser_is_shown_a_page_where_nothing_is(world: World, path: str) -> None:
    answer = world.client.get(path, headers=BROWSER)
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert '<a href="/">Back to the fleet</a>' in answer.text


@pytest.mark.parametrize("path", ["/v1/nowhere", "/v1/jobs/0"])
def test_the_api_answers_a_browser_with_a_problem(world: World, path: str) -> None:
    answer = world.client.get(path, headers=BROWSER)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == 404


def test_a_program_gets_a_problem_outside_the_api_too(world: World) -> None:
    answer = world.client.get("/nowhere", headers={"Accept": "*/*"})
    assert answer.json()["type"] == "/problems/not-found"


def test_a_page_that_is_asked_for_wrongly_says_what_is_wrong(world: World) -> None:
    answer = world.client.get("/", params={"sort": "colour"}, headers=BROWSER)
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("text/html")
    assert "sort" in answer.text


def test_an_unknown_address_shows_nobody_that_it_could_be_signed_out(browser: TestClient) -> None:
    text = browser.get("/nowhere", headers=BROWSER).text
    assert "Sign out" not in text
    assert 'href="/login"' in text


def test_a_key_of_an_agent_is_told_that_it_cannot_sign_in(
    world: World, browser: TestClient
) -> None:
    answer = browser.post("/login", data={"key": key_with(world, Scope.AGENT)})
    assert answer.status_code == 403
    assert "cannot sign in" in answer.text
    assert "set-cookie" not in answer.headers
    reader = browser.post("/login", data={"key": key_with(world, Scope.READ)})
    assert (reader.status_code, reader.headers["location"]) == (303, "/")


def test_the_api_opens_no_session_for_the_key_of_an_agent(
    world: World, browser: TestClient
) -> None:
    answer = browser.post("/v1/session", json={"key": key_with(world, Scope.AGENT)})
    assert answer.status_code == 403
    assert answer.json()["needed"] == "read"


def test_a_session_that_has_ended_says_so(world: World, browser: TestClient) -> None:
    fresh = browser.get(browser.get("/").headers["location"])
    assert "has ended" not in fresh.text
    browser.post("/login", data={"key": world.key})
    token = browser.cookies["tandemcal_session"]
    browser.post("/logout")
    browser.cookies.set("tandemcal_session", token, domain="testserver.local")
    login = browser.get(browser.get("/jobs/1").headers["location"])
    assert "Your session has ended" in login.text
    assert 'name="next" value="/jobs/1"' in login.text
