"""Lists sorted by name, health and predicted loss: alike in both databases, page by page."""

from typing import Any

import pytest
from sqlalchemy import text, update

from service.db.repositories.paging import PageRequest, make_cursor
from service.db.tables import Chip
from tests.world import World

CHIPS = {  # name -> health, predicted loss in points
    "b": ("good", 0.5),
    "a": ("bad", 12.0),
    "C": ("drifting", 3.0),
    "ä": ("unknown", None),
    "d": ("good", 0.25),
    "e": ("retired", None),
}


@pytest.fixture
def chips(world: World) -> World:
    for name, (health, points) in CHIPS.items():
        chip = world.register_chip(name)
        loss = None if points is None else {"points": points, "low": 0.0, "high": 20.0}
        values: dict[str, Any] = {"health": health, "predicted_loss": loss}
        with world.context.database.writing() as session:
            session.execute(update(Chip).where(Chip.id == chip["id"]).values(values))
    return world


def names(world: World, sort: str, limit: int = 2, path: str = "/v1/chips") -> list[str]:
    """All names, read page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        params: dict[str, Any] = {"sort": sort, "limit": limit} | cursor
        page = world.client.get(path, params=params).json()
        found += [item["name"] for item in page["items"]]
        if page["next_cursor"] is None:
            return found
        assert len(page["items"]) == limit
        cursor = {"cursor": page["next_cursor"]}


@pytest.mark.both_databases
@pytest.mark.parametrize("limit", [1, 2, 6])
@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("name", "Cabdeä"),
        ("-name", "äedbaC"),
        ("health", "bdäCae"),
        ("-health", "aCädbe"),
        ("predicted_loss", "dbCaäe"),
        ("-predicted_loss", "aCbdeä"),  # what is not known comes last in both directions
        ("created_at", "baCäde"),
        ("-created_at", "edäCab"),
    ],
)
def test_chips_are_sorted(chips: World, sort: str, order: str, limit: int) -> None:
    assert "".join(names(chips, sort, limit)) == order


@pytest.mark.both_databases
def test_a_cursor_goes_on_at_its_place_whatever_became_of_its_row(chips: World) -> None:
    def page(**params: Any) -> Any:
        answer = chips.client.get("/v1/chips", params={"sort": "-predicted_loss", **params})
        return answer.json()

    first = page(limit=2)
    last = first["items"][-1]["id"]
    assert first["items"][-1]["name"] == "C"
    with chips.context.database.writing() as session:
        better: dict[str, Any] = {"points": 0.0, "low": 0.0, "high": 1.0}
        session.execute(update(Chip).where(Chip.id == last).values(predicted_loss=better))
    rest = page(cursor=first["next_cursor"])
    assert [chip["name"] for chip in rest["items"]] == ["b", "d", "C", "e", "ä"]


@pytest.mark.both_databases
def test_filters_and_other_lists_are_sorted_too(chips: World) -> None:
    params = {"sort": "-name", "health": "good"}
    found = chips.client.get("/v1/chips", params=params).json()["items"]
    assert [chip["name"] for chip in found] == ["d", "b"]
    teacher = chips.upload_teacher()["id"]
    for name in "bca":
        chips.client.post("/v1/keys", json={"name": name, "scopes": ["read"]})
        body = {"name": name, "teacher_id": teacher, "chunks": 1}
        assert chips.client.post("/v1/target-sets", json=body).status_code == 201
    assert names(chips, "name", 2, "/v1/target-sets") == ["a", "b", "c"]
    assert [name for name in names(chips, "-name", 2, "/v1/keys") if len(name) == 1] == [
        "c",
        "b",
        "a",
    ]
    assert names(chips, "name", 2, "/v1/teachers") == ["small teacher"]


def test_a_cursor_of_another_sort_or_of_nobody_is_refused(chips: World) -> None:
    cursor = chips.client.get("/v1/chips", params={"sort": "name", "limit": 2}).json()[
        "next_cursor"
    ]
    for sort in ("-name", "health", "created_at"):
        answer = chips.client.get("/v1/chips", params={"sort": sort, "cursor": cursor})
        assert answer.status_code == 422, sort
    made = PageRequest(sort="predicted_loss", oldest_first=True)
    for after in ("bm8=", "no base64", "WyJhIiwgImIiXQ==", "WzEsIDJd", "W10="):
        forged = make_cursor(Chip.id, made, after)
        params = {"sort": "predicted_loss", "cursor": forged}
        assert chips.client.get("/v1/chips", params=params).status_code == 422, after


def test_lists_without_names_are_sorted_by_age_alone(world: World) -> None:
    for path in ("/v1/jobs", "/v1/students", "/v1/audit"):
        assert world.client.get(path, params={"sort": "name"}).status_code == 422


def test_a_damaged_loss_comes_last_and_is_named(chips: World) -> None:
    damaged = chips.client.get("/v1/chips", params={"name": "a"}).json()["items"][0]["id"]
    with chips.context.database.writing() as session:
        spoil = text("UPDATE chips SET predicted_loss = 'no JSON' WHERE id = :id")
        session.execute(spoil, {"id": damaged})
    page = chips.client.get("/v1/chips", params={"sort": "-predicted_loss"}).json()
    assert "".join(chip["name"] for chip in page["items"]) == "Cbdeä"
    assert page["unreadable"] == [damaged]
    assert "".join(names(chips, "name", 6)) == "Cbdeä"
