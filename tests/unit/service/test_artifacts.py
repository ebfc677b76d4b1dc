"""Blobs are found by what they hold, and a damaged one is never handed out."""

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


def test_what_was_left_behind_is_swept_away(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    with store.temporary() as scratch:
        (scratch / "part").write_bytes(b"half")
        touched = scratch.stat().st_mtime
        store.sweep(before=touched)
        assert len(files(tmp_path)) == 1  # somebody may still be sending it
        store.sweep(before=touched + 1)
        assert files(tmp_path) == []
