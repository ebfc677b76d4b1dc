"""Names in place of ids: in paths, bodies and filters; one that means several is refused."""

from tests.world import World


def test_a_chip_is_named_in_paths_and_filters(world: World) -> None:
    chip = world.register_chip("bench pcm")
    world.register_chip("another")
    assert world.client.get("/v1/chips/bench pcm").json()["id"] == chip["id"]
    for path in ("weights", "history", "fingerprints"):
        assert world.client.get(f"/v1/chips/bench pcm/{path}").status_code == 200
    job = world.client.post(
        "/v1/jobs",
        json={"kind": "probe", "chip_id": "bench pcm"},
        headers={"Idempotency-Key": "one"},
    )
    assert chip["id"] in job.text
    assert world.client.get("/v1/jobs", params={"chip_id": "bench pcm"}).status_code == 200
    assert world.client.put("/v1/chips/bench pcm/policy", json={}).json()["chip_id"] == chip["id"]
    assert world.client.delete("/v1/chips/bench pcm").json()["id"] == chip["id"]


def test_a_teacher_is_named_and_an_ambiguous_name_is_refused(world: World) -> None:
    teacher = world.upload_teacher()
    path = f"/v1/teachers/{teacher['name']}"
    assert world.client.get(path).json()["id"] == teacher["id"]
    body = {"name": "one", "teacher_id": teacher["name"], "chunks": 1}
    made = world.client.post("/v1/target-sets", json=body)
    assert (made.status_code, made.json()["teacher_id"]) == (201, teacher["id"])
    found = world.client.get("/v1/target-sets", params={"teacher_id": teacher["name"]})
    assert [one["id"] for one in found.json()["items"]] == [made.json()["id"]]
    world.upload_teacher()
    refused = world.client.get(path)
    assert refused.status_code == 404
    assert "More than one teacher" in refused.json()["detail"]
    assert world.client.get(f"/v1/teachers/{teacher['id']}").status_code == 200


def test_what_names_nothing_is_not_found(world: World) -> None:
    for kind in ("chips", "teachers", "students"):
        answer = world.client.get(f"/v1/{kind}/unheard-of")
        assert (answer.status_code, "'unheard-of'" in answer.json()["detail"]) == (404, True)
