"""Blocks are addressed by their content, and a damaged one is never returned."""

import os
import time
from pathlib import Path

import pytest

from service.artifacts import ArtifactStore
from service.errors import ArtifactCorruptError, ArtifactMissingError


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
