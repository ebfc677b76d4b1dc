"""Blocks are addressed by their content, and a damaged one is never returned."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from service.artifacts import ArtifactStore
from service.damage_errors import ArtifactCorruptError, ArtifactMissingError


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_what_was_put_is_read(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"codes")
    assert store.has(sha256)
    assert store.read(sha256) == b"codes"


def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    assert store.put(b"codes") == store.put(b"codes")
    assert len(files(tmp_path)) == 1


def test_a_damaged_blob_is_not_handed_out(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"codes")
    (path,) = files(tmp_path)
    path.write_bytes(b"c0des")
    with pytest.raises(ArtifactCorruptError):
        store.read(sha256)


def test_a_missing_blob_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissingError, match="abc"):
        ArtifactStore(tmp_path).read("abc")


def test_unfinished_uploads_are_deleted(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with store.temporary() as scratch:
        (scratch / "part").write_bytes(b"half")
        touched = scratch.stat().st_mtime
        store.delete_unfinished_uploads(before=touched)
        assert len(files(tmp_path)) == 1  # somebody may still be sending it
        store.delete_unfinished_uploads(before=touched + 1)
        assert files(tmp_path) == []


def test_an_old_block_is_deleted_and_a_new_one_stays(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    old, young = store.put(b"old"), store.put(b"young")
    age(tmp_path, old)
    yesterday = time.time() - DAY
    assert [store.remove_old(sha256, yesterday) for sha256 in (old, young)] == [True, False]
    assert (store.has(old), store.has(young)) == (False, True)
    assert not store.remove_old(old, yesterday)
    assert len(files(tmp_path)) == 1


def test_storing_a_block_again_renews_its_time(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"old")
    age(tmp_path, sha256)
    store.put(b"old")
    assert not store.remove_old(sha256, time.time() - DAY)
    assert store.read(sha256) == b"old"


DAY = 24 * 3600.0


def age(root: Path, sha256: str) -> None:
    """Set the time of a block to two days ago."""
    then = time.time() - 2 * DAY
    os.utime(root / sha256[:2] / sha256, (then, then))


def test_a_checked_file_is_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"codes")
    assert store.checked_file(sha256).read_bytes() == b"codes"
    monkeypatch.setattr(hashlib, "file_digest", None)  # who reads it again fails
    assert store.checked_file(sha256).read_bytes() == b"codes"


def test_a_file_that_was_damaged_since_it_was_checked_is_found(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"codes")
    path = store.checked_file(sha256)
    before = path.stat()
    path.write_bytes(b"c0des")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # as old as it was
    with pytest.raises(ArtifactCorruptError):
        store.checked_file(sha256)


def test_a_file_is_read_again_after_a_day(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    sha256 = store.put(b"codes")
    path = store.checked_file(sha256)
    (note,) = (tmp_path / "checked").iterdir()
    path.write_bytes(b"c0des")
    found = path.stat()
    numbers = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    note.write_text(" ".join(map(str, numbers)))
    assert store.checked_file(sha256) == path  # the note is believed: that is what this test is of
    yesterday = time.time() - 25 * 3600
    os.utime(note, (yesterday, yesterday))
    with pytest.raises(ArtifactCorruptError):
        store.checked_file(sha256)


def test_a_missing_file_is_named_and_a_removed_one_leaves_nothing(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with pytest.raises(ArtifactMissingError, match="abc"):
        store.checked_file("abc")
    sha256 = store.put(b"codes")
    store.checked_file(sha256)
    store.remove(sha256)
    assert files(tmp_path) == []
