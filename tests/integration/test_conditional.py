"""Conditional requests: 304 for what a client has, 412 for what has changed meanwhile."""

from typing import Any

import pytest

from tests.world import World


@pytest.fixture
def chip(world: World) -> dict[str, Any]:
    return world.register_chip("bench")


def path_of(chip: dict[str, Any]) -> str:
    return f"/v1/chips/{chip['id']}"


def test_what_has_not_changed_is_not_sent_again(world: World, chip: dict[str, Any]) -> None:
    teacher = world.upload_teacher()
    world.client.put(path_of(chip) + "/policy", json={})
    paths = [path_of(chip), path_of(chip) + "/policy", f"/v1/teachers/{teacher['id']}"]
    lists = [f"/v1/{name}" for name in ("chips", "teachers", "students", "jobs", "target-sets")]
    for path in (*paths, *lists):
        first = world.client.get(path)
        tag = first.headers["etag"]
        for known in (tag, f'"other", W/{tag}', "*"):
            again = world.client.get(path, headers={"If-None-Match": known})
            assert (again.status_code, again.content) == (304, b""), path
            assert again.headers["etag"] == tag
        other = world.client.get(path, headers={"If-None-Match": '"other"'})
        assert (other.status_code, other.content) == (200, first.content), path


def test_what_has_changed_is_sent(world: World, chip: dict[str, Any]) -> None:
    for path in (path_of(chip), "/v1/chips"):
        tag = world.client.get(path).headers["etag"]
        renamed = world.client.patch(path_of(chip), json={"name": f"after {path}"})
        assert renamed.status_code == 200
        answer = world.client.get(path, headers={"If-None-Match": tag})
        assert answer.status_code == 200
        assert f"after {path}" in answer.text


def test_a_chip_is_renamed_only_as_it_was_read(world: World, chip: dict[str, Any]) -> None:
    read = world.client.get(path_of(chip)).headers["etag"]

    def rename(name: str, tag: str) -> Any:
        return world.client.patch(path_of(chip), json={"name": name}, headers={"If-Match": tag})

    first, second = rename("first", read), rename("second", read)
    assert (first.status_code, second.status_code) == (200, 412)
    assert second.json()["type"] == "/problems/precondition-failed"
    assert second.json()["etag"] == first.headers["etag"]
    assert world.client.get(path_of(chip)).json()["name"] == "first"
    assert rename("third", first.headers["etag"]).status_code == 200
    assert rename("fourth", "*").status_code == 200
    assert rename("fifth", f"W/{read}").status_code == 412


def test_so_is_a_policy_set_and_deleted(world: World, chip: dict[str, Any]) -> None:
    path = path_of(chip) + "/policy"

    def put(tag: str) -> Any:
        return world.client.put(path, json={"priority": 7}, headers={"If-Match": tag})

    assert put("*").status_code == 412  # there is none yet
    assert world.client.put(path, json={}).status_code == 200
    read = world.client.get(path).headers["etag"]
    first = put(read)
    assert (first.status_code, put(read).status_code) == (200, 412)
    stale = world.client.delete(path, headers={"If-Match": read})
    assert stale.status_code == 412
    current = {"If-Match": world.client.get(path).headers["etag"]}
    assert world.client.delete(path, headers=current).status_code == 204


def test_the_openapi_document_is_not_sent_again_unchanged(world: World) -> None:
    first = world.client.get("/v1/openapi.json")
    known = {"If-None-Match": first.headers["ETag"]}
    assert world.client.get("/v1/openapi.json", headers=known).status_code == 304
    other = {"If-None-Match": '"other"'}
    assert world.client.get("/v1/openapi.json", headers=other).json() == first.json()
    long = {"If-None-Match": "a" * 1001}
    assert world.client.get("/v1/openapi.json", headers=long).status_code == 422


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/jobs", "GET, POST"),
        ("/v1/jobs/cancel", "POST"),  # no job of this id
        ("/v1/jobs/0192", "GET"),
        ("/v1/chips/0192/policy", "DELETE, GET, PUT"),
    ],
)
def test_a_method_that_a_path_does_not_accept_is_told_the_others(
    world: World, path: str, methods: str
) -> None:
    answer = world.client.request("TRACE", path)
    assert (answer.status_code, answer.headers["Allow"]) == (405, methods)
