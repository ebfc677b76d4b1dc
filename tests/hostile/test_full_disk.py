"""A disk without room: jobs wait, nothing new is accepted, and the answers say why."""

import errno
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from service.artifacts import ArtifactStore
from service.disk_space import DiskSpace, StorageFullError, is_full
from tests.world import World, teacher_block, upload_headers

FULL = OSError(errno.ENOSPC, "No space left on device")


def fill(world: World) -> None:
    """Let the service keep more in reserve than any disk has."""
    app = world.client.app
    folder = world.context.settings.data_dir
    app.state.context = world.context._replace(disk=DiskSpace(folder, 2**62))  # type: ignore[attr-defined]


def test_without_room_nothing_new_is_accepted(world: World) -> None:
    chip = world.register_chip()
    job = world.complete_targets(world.upload_teacher()["id"])
    fill(world)
    before, block = world.stored(), teacher_block(name="another")
    refused = [
        world.client.post("/v1/teachers", content=block, headers=upload_headers(block)),
        world.client.post("/v1/jobs", json={}),
        world.post_once(f"/v1/jobs/{job['id']}/retry"),
        world.client.post("/v1/chips", json={"name": "b", "settings": {}}),
    ]
    for answer in refused:
        assert answer.status_code == 507
        assert answer.json()["type"] == "/problems/insufficient-storage"
        assert "Free some space" in answer.json()["detail"]
    assert world.stored() == before
    assert world.client.get(f"/v1/chips/{chip['id']}").status_code == 200  # it still answers
    assert world.client.post(f"/v1/jobs/{job['id']}/cancel").status_code == 202


def test_readiness_says_that_the_disk_is_full(world: World) -> None:
    assert world.client.get("/readyz").status_code == 200
    fill(world)
    answer = world.client.get("/readyz")
    assert (answer.status_code, "full" in answer.json()["detail"]) == (507, True)


def test_an_upload_during_which_the_disk_fills_is_answered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(*_: object) -> None:
        raise FULL

    block = teacher_block()
    monkeypatch.setattr(ArtifactStore, "adopt", no_room)
    answer = world.client.post("/v1/teachers", content=block, headers=upload_headers(block))
    assert answer.status_code == 507
    assert world.stored()["teachers"] == 0


@pytest.mark.parametrize(("patience", "fails"), [(30.0, 3), (0.0, 1)], ids=["a job", "a request"])
def test_a_job_waits_for_room_and_a_request_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: float, fails: int
) -> None:
    tries: list[int] = []
    write = Path.write_bytes

    def fill_up(path: Path, data: bytes) -> int:
        tries.append(len(data))
        if len(tries) <= fails:
            raise FULL
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", fill_up)
    store = ArtifactStore(tmp_path, patience)
    if patience:
        assert store.read(store.put(b"checkpoint")) == b"checkpoint"
        assert len(tries) == fails + 1
    else:
        with pytest.raises(OSError, match="No space"):
            store.put(b"upload")


def test_other_errors_of_the_disk_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "write_bytes", read_only)
    with pytest.raises(OSError, match="Read-only"):
        ArtifactStore(tmp_path, 30.0).put(b"checkpoint")


def test_what_says_that_the_disk_is_full() -> None:
    assert is_full(FULL)
    assert is_full(OperationalError("INSERT", {}, Exception("database or disk is full")))
    assert not is_full(OperationalError("INSERT", {}, Exception("database is locked")))
    assert not is_full(OSError(errno.EIO, "Input/output error"))


def test_every_disk_needs_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "artifacts"
    other.mkdir()
    free = {tmp_path: 100, other: 5}
    monkeypatch.setattr("service.disk_space._free_bytes", free.__getitem__)
    DiskSpace(tmp_path, 10).check()
    DiskSpace(tmp_path, 10, tmp_path / "not made yet").check()
    with pytest.raises(StorageFullError, match="artifacts"):
        DiskSpace(tmp_path, 10, other).check()


def test_room_is_what_is_left_above_the_reserve(tmp_path: Path) -> None:
    DiskSpace(tmp_path, 1).check()
    with pytest.raises(StorageFullError):
        DiskSpace(tmp_path, 2**62).check()
