"""Query parameters that a route does not know, and cursors that no list made."""

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from service.db.audit_tables import AuditEvent
from service.db.repositories.paging import PageRequest, make_cursor
from service.db.tables import Chip
from tests.world import World

LISTS = [
    "/v1/jobs",
    "/v1/chips",
    "/v1/teachers",
    "/v1/target-sets",
    "/v1/students",
    "/v1/chips/{chip_id}/weights",
    "/v1/chips/{chip_id}/fingerprints",
    "/v1/chips/{chip_id}/history",
    "/v1/audit",
    "/v1/keys",
    "/v1/webhooks",
]
PAGES = ["/", "/fragments/fleet", "/jobs/x", "/fragments/jobs/x", "/login", "/static/icon.svg"]


def operations(world: World) -> list[tuple[str, str]]:
    """Method and path of every route of the OpenAPI document, with a name in each parameter."""
    paths: dict[str, Any] = world.client.get("/v1/openapi.json").json()["paths"]
    return [
        (method, re.sub(r"\{[^}]*\}", "1", path))
        for path, found in paths.items()
        for method in found
    ]


def named(answer: Any) -> list[str]:
    """The parameters that a problem names."""
    if answer.headers.get("content-type") != "application/problem+json":
        return []
    return [one.get("parameter") for one in answer.json().get("errors", ())]


def test_every_route_refuses_a_query_parameter_that_it_does_not_know(world: World) -> None:
    found = [*operations(world), *(("get", page) for page in PAGES)]
    assert len(found) > 40
    for method, path in found:
        answer = world.client.request(method, path, params={"limti": "1"})
        assert (answer.status_code, named(answer)) == (422, ["limti"]), (method, path)
        if "/events" not in path:  # the control: the same request without it
            plain = world.client.request(method, path, follow_redirects=False)
            assert "limti" not in plain.text, (method, path)


def test_every_list_of_the_document_is_among_these(world: World) -> None:
    paths: dict[str, Any] = world.client.get("/v1/openapi.json").json()["paths"]
    with_cursor = {
        path
        for path, found in paths.items()
        if any(one["name"] == "cursor" for one in found.get("get", {}).get("parameters", ()))
    }
    assert with_cursor == set(LISTS)


def test_a_stranger_is_asked_for_a_key_first(world: World) -> None:
    stranger = TestClient(world.client.app)
    for method, path in operations(world):
        if path.startswith("/v1/") and path != "/v1/session":
            answer = stranger.request(method, path, params={"limti": "1"})
            assert answer.status_code == 401, (method, path)


def test_parameters_that_a_route_knows_are_taken(world: World) -> None:
    known: dict[str, Any] = {
        "limit": 3,
        "sort": "created_at",
        "status": ["queued", "failed"],
        "kind": "train",
    }
    assert world.client.get("/v1/jobs", params=known).status_code == 200


def chips(world: World, count: int = 3) -> list[str]:
    return [world.register_chip(f"bench {number}")["id"] for number in range(count)]


@pytest.mark.parametrize("path", LISTS)
def test_every_list_refuses_a_cursor_that_it_did_not_make(world: World, path: str) -> None:
    (chip_id,) = chips(world, 1)
    for cursor in ("1", chip_id, f"{chip_id}.", f"{chip_id}.{'0' * 16}", "' OR 1=1", "\x00"):
        where = path.format(chip_id=chip_id)
        answer = world.client.get(where, params={"cursor": cursor})
        assert (answer.status_code, named(answer)) == (422, ["cursor"]), cursor


WRONG = ["abc", "-1", " 1", "1_0", "01", "1" * 5000, str(2**63), "\x00", "\x001"]


def test_a_cursor_that_somebody_computes_is_refused_like_any_other(world: World) -> None:
    """Its check is no secret; what stands before it need not be an id."""

    def audit(after: str) -> Response:
        cursor = make_cursor(AuditEvent.seq, PageRequest(), after)
        return world.client.get("/v1/audit", params={"cursor": cursor})

    def chips(after: str) -> Response:
        cursor = make_cursor(Chip.id, PageRequest(), after)
        return world.client.get("/v1/chips", params={"cursor": cursor})

    for page, wrong in ((audit, WRONG), (chips, ["\x00", "a\x00b"])):
        for after in wrong:
            answer = page(after)
            assert (answer.status_code, named(answer)) == (422, ["cursor"]), after[:20]
        assert page(str(2**63 - 1)).status_code == 200  # the control


def test_a_cursor_goes_on_in_its_own_list_alone(world: World) -> None:
    ids = chips(world)
    first = world.client.get("/v1/chips", params={"limit": 2}).json()
    cursor = first["next_cursor"]
    rest = world.client.get("/v1/chips", params={"cursor": cursor}).json()
    assert [chip["id"] for chip in (*first["items"], *rest["items"])] == ids[::-1]
    for query in ({"cursor": cursor, "sort": "created_at"}, {"cursor": cursor[:-1]}):
        assert named(world.client.get("/v1/chips", params=query)) == ["cursor"]
    assert named(world.client.get("/v1/jobs", params={"cursor": cursor})) == ["cursor"]


def test_a_page_refuses_such_a_cursor_too(world: World) -> None:
    assert world.client.post("/v1/session", json={"key": world.key}).status_code == 204
    assert world.client.get("/", params={"chips": "1"}).status_code == 422
    assert world.client.get("/").status_code == 200
