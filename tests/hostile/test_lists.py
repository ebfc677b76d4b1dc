"""What a list may cost: bytes of an answer, layers of a network."""

from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy import update

from ltl_core.errors import NetworkError
from ltl_core.network.spec import LAYERS_MAX, NetworkSpec
from service.api import lists
from service.api.lists import ITEM_BYTES, LIST_BYTES
from service.db.tables import Chip, Job
from service.schemas.resources import NETWORK_TEXT_MAX, TeacherMetadata
from tests.world import World, teacher_block, upload_headers


def whole_list(world: World, path: str, limit: int = 200) -> tuple[list[Any], list[int]]:
    """All items of a list, and the size of each of its pages."""
    items, sizes, cursor = [], [], None
    while True:
        query = {"limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = world.client.get(path, params=query)
        items += answer.json()["items"]
        sizes.append(len(answer.content))
        if (cursor := answer.json()["next_cursor"]) is None:
            return items, sizes


def test_a_list_of_target_sets_does_not_grow_with_their_chunks(world: World) -> None:
    teacher = world.upload_teacher()["id"]
    ids = [world.announce_targets(teacher, chunks=100_000)["id"] for _ in range(3)]
    items, sizes = whole_list(world, "/v1/target-sets")
    assert [item["id"] for item in items] == ids[::-1]
    assert sizes[0] < 3_000
    one = world.client.get(f"/v1/target-sets/{ids[0]}").json()  # the control: it tells all
    assert len(one["missing"]) == 100_000
    assert {name: one[name] for name in items[-1]} == items[-1]


def test_a_list_of_teachers_leaves_out_their_networks(world: World) -> None:
    teacher = world.upload_teacher()
    (item,), _ = whole_list(world, "/v1/teachers")
    assert item == {name: value for name, value in teacher.items() if name != "network"}


def fill(world: World, table: Any, **values: Any) -> None:
    with world.context.database.writing() as session:
        session.execute(update(table).values(**values))


def test_a_page_ends_where_it_would_be_too_large(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [world.register_chip(f"bench {number}")["id"] for number in range(40)]
    fill(world, Chip, settings={"note": "x" * 50_000})
    items, sizes = whole_list(world, "/v1/chips")
    assert [item["id"] for item in items] == ids[::-1]  # none is lost, none comes twice
    assert len(sizes) == 3
    assert max(sizes) <= LIST_BYTES
    monkeypatch.setattr(lists, "LIST_BYTES", 10**9)  # the control: without the bound
    assert max(whole_list(world, "/v1/chips")[1]) > LIST_BYTES


def test_a_list_shows_a_large_job_without_its_result(world: World) -> None:
    job = world.complete_targets(world.upload_teacher()["id"])
    for size, shown in ((10, True), (ITEM_BYTES, False)):
        result = {"layers": ["x" * size]}
        fill(world, Job, result=result)
        ((item,), _) = whole_list(world, "/v1/jobs")
        assert (item["result"] is not None) == shown
        assert item["settings"] == job["settings"]
        assert world.client.get(f"/v1/jobs/{job['id']}").json()["result"] == result


@pytest.mark.parametrize(("size", "wrong"), [(30_000, "/backend"), (40_000, "/settings")])
def test_settings_of_a_chip_are_bounded(world: World, size: int, wrong: str) -> None:
    body = {"name": "a", "backend": "other", "settings": {"note": "x" * size}}
    answer = world.client.post("/v1/chips", json=body)
    assert [one["pointer"] for one in answer.json()["errors"]] == [wrong]


def chain(layers: int) -> dict[str, Any]:
    one = {"kind": "linear", "in_features": 1, "out_features": 1}
    return {"input_shape": [1], "layers": [one | {"name": f"l{n}"} for n in range(layers)]}


def test_a_network_has_so_many_layers_at_most(world: World) -> None:
    assert len(NetworkSpec.model_validate(chain(LAYERS_MAX)).layers) == LAYERS_MAX
    block = teacher_block(network=chain(LAYERS_MAX + 1))
    answer = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    assert (answer.status_code, "at most 2000" in answer.text) == (422, True)


def test_more_layers_are_refused_before_any_is_built() -> None:
    wrong = {"kind": "linear", "name": "l"}
    with pytest.raises(NetworkError, match="at most 2000"):
        NetworkSpec.model_validate({"input_shape": [1], "layers": [wrong] * (LAYERS_MAX + 1)})
    with pytest.raises(ValidationError, match="in_features"):  # fewer are looked at
        NetworkSpec.model_validate({"input_shape": [1], "layers": [wrong]})


def test_the_text_of_a_network_is_bounded_before_it_is_parsed() -> None:
    text = "[" * (NETWORK_TEXT_MAX + 1)
    with pytest.raises(ValidationError, match="at most"):
        TeacherMetadata.model_validate({"name": "a", "network": text})
    assert LAYERS_MAX * 1_000 < NETWORK_TEXT_MAX


@pytest.mark.parametrize("blank", ["\u3164", "\u2800", "a\ufe0fb", "\u115f", "a\u034fb"])
def test_a_name_of_characters_that_show_as_nothing_is_refused(world: World, blank: str) -> None:
    body = {"name": blank, "settings": {"preset": "ideal", "seed": 1}}
    assert world.client.post("/v1/chips", json=body).status_code == 422
    assert world.client.post("/v1/chips", json=body | {"name": "ab"}).status_code == 201


def test_the_same_instant_in_another_zone_is_the_same_request(world: World) -> None:
    body = {"kind": "train", "target_set_id": world.ready_targets()}
    noon = ["2031-01-01T12:00:00Z", "2031-01-01T14:30:00+02:30", "2031-01-01T12:00:00.000+00:00"]
    headers = {"Idempotency-Key": "one"}
    jobs = [body | {"not_before": time} for time in noon]
    found = {world.client.post("/v1/jobs", json=job, headers=headers).json()["id"] for job in jobs}
    assert len(found) == 1  # the control: another instant
    other = body | {"not_before": "2031-01-01T12:00:00+02:30"}
    assert world.client.post("/v1/jobs", json=other, headers=headers).status_code == 422
