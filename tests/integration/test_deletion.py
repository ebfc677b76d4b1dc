"""Teachers, target sets and students are deleted once nothing uses them."""

from typing import Any

import pytest

from service.db.repositories.artifact_references import ArtifactReferenceRepository
from tests.integration.test_last_trims import calibrated
from tests.world import World

pytestmark = pytest.mark.both_databases


def delete(world: World, path: str, tag: str | None = None) -> Any:
    return world.client.delete(path, headers={} if tag is None else {"If-Match": tag})


def conflict(world: World, path: str) -> str:
    """What the service says that uses the resource."""
    answer = delete(world, path)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
    return str(answer.json()["detail"])


def referenced(world: World) -> set[str]:
    with world.context.database.reading() as session:
        return ArtifactReferenceRepository(session).referenced()


class Trained:
    """A student with its target set and its teacher."""

    def __init__(self, world: World) -> None:
        student = world.client.get(f"/v1/students/{world.trained_student()}").json()
        self.id = student["id"]
        self.student = f"/v1/students/{student['id']}"
        self.targets = f"/v1/target-sets/{student['target_set_id']}"
        self.teacher = f"/v1/teachers/{student['teacher_id']}"


def test_all_three_go_in_turn_and_leave_the_history(world: World) -> None:
    made = Trained(world)
    jobs = world.client.get("/v1/jobs").json()["items"]
    assert referenced(world)
    for path in (made.student, made.targets, made.teacher):
        assert delete(world, path).status_code == 204, path
        assert world.client.get(path).status_code == 404
        assert delete(world, path).status_code == 404
    assert referenced(world) == set()  # the sweep removes the blocks
    rows = world.stored()
    assert (rows["target_chunks"], rows["target_sets"], rows["teachers"]) == (0, 0, 0)
    kept = world.client.get("/v1/jobs").json()["items"]
    assert [job["id"] for job in kept] == [job["id"] for job in jobs]
    assert {job["target_set_id"] for job in kept} == {None}
    actions = [event["action"] for event in world.client.get("/v1/audit").json()["items"]]
    assert actions[:3] == ["teacher.deleted", "target_set.deleted", "student.deleted"]


def test_what_is_used_stays_and_its_users_are_named(world: World) -> None:
    made = Trained(world)
    assert f"target set {made.targets.rpartition('/')[2]}" in conflict(world, made.teacher)
    assert f"student {made.id}" in conflict(world, made.targets)
    chip = world.register_chip("bench-1")
    world.client.put(f"/v1/chips/{chip['id']}/policy", json={"student_id": made.id})
    job = world.calibrate(chip["id"], made.id)["id"]
    assert conflict(world, made.student).endswith(
        f"is used by the policy of chip bench-1 and job {job} and cannot be deleted."
    )
    for path in (made.student, made.targets, made.teacher):
        assert world.client.get(path).status_code == 200


def test_weights_of_a_chip_keep_their_student(world: World) -> None:
    job = world.client.get(f"/v1/jobs/{calibrated(world, after=None)}").json()
    assert "the weights of chip bench 1" in conflict(world, f"/v1/students/{job['student_id']}")


def test_at_most_three_users_are_named(world: World) -> None:
    teacher = world.upload_teacher()["id"]
    sets = [world.announce_targets(teacher)["id"] for _ in range(5)]
    said = conflict(world, f"/v1/teachers/{teacher}")
    assert [one in said for one in sets] == [True] * 3 + [False] * 2
    assert "and others and cannot" in said


def test_a_target_set_is_kept_while_its_samples_are_collected(world: World) -> None:
    job = world.complete_targets(world.upload_teacher()["id"])
    path = f"/v1/target-sets/{job['target_set_id']}"
    assert f"job {job['id']}" in conflict(world, path)
    world.client.post(f"/v1/jobs/{job['id']}/cancel")
    assert delete(world, path).status_code == 204  # also one that failed, or was never complete


def test_a_resource_that_has_changed_is_kept(world: World) -> None:
    made = Trained(world)
    for path in (made.student, made.targets, made.teacher):
        tag = world.client.get(path).headers["etag"]
        refused = delete(world, path, '"another"')
        assert (refused.status_code, refused.json()["etag"]) == (412, tag)
        assert delete(world, path, tag).status_code == 204, path


def test_a_key_that_may_only_read_deletes_nothing(world: World) -> None:
    made = Trained(world)
    body = {"name": "reader", "scopes": ["read"]}
    key = world.client.post("/v1/keys", json=body).json()["key"]
    for path in (made.student, made.targets, made.teacher):
        answer = world.client.delete(path, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403
