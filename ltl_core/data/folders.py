"""Readers of images in folders that name their class: SPLIT/CLASS/*.jpg, and Tiny-ImageNet.

Files arrive as entries, a path and its bytes, in any order: from a tar, a zip or a directory.
"""

import gzip
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from io import BufferedReader, BytesIO
from pathlib import PurePosixPath
from typing import IO, NamedTuple, Protocol, cast, runtime_checkable

import torch
from torch import Tensor

from ltl_core.data.images import Images
from ltl_core.data.pictures import decode
from ltl_core.errors import DataFormatError

_SUFFIXES = (".jpg", ".jpeg", ".png")
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ\0"
_ANNOTATIONS = "val_annotations.txt"


class Entry(NamedTuple):
    """One file of a data set, from an archive or a directory."""

    path: PurePosixPath
    data: bytes


def tar_entries(stream: BufferedReader | BytesIO, source: str) -> Iterator[Entry]:
    """Yield the files of a tar, plain or compressed by gzip or xz; nothing is written to disk.

    Raises DataFormatError if the archive is damaged.
    """
    try:
        watched = _Watched(_decompressed(stream))
        file = cast(IO[bytes], watched)  # tarfile calls only `read` of a stream
        with tarfile.open(fileobj=file, mode="r|", bufsize=tarfile.BLOCKSIZE) as archive:
            for member in archive:
                if member.isfile() and (data := archive.extractfile(member)) is not None:
                    yield Entry(PurePosixPath(member.name), data.read())
    except (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error) as error:
        raise DataFormatError(source, f"the archive is damaged ({error})") from error
    if watched.last != bytes(tarfile.BLOCKSIZE):
        raise DataFormatError(source, "the archive is damaged (it has no end)")


def zip_entries(stream: BufferedReader | BytesIO, source: str) -> Iterator[Entry]:
    """Yield the files of a zip; nothing is written to disk.

    Raises DataFormatError if the archive is damaged.
    """
    try:
        with zipfile.ZipFile(stream) as archive:
            for member in archive.infolist():
                if not member.is_dir():
                    yield Entry(PurePosixPath(member.filename), archive.read(member))
    except (zipfile.BadZipFile, EOFError, OSError, zlib.error) as error:
        raise DataFormatError(source, f"the archive is damaged ({error})") from error


def read_class_folders(entries: Iterable[Entry], split: str, source: str) -> Images:
    """Read the images under SPLIT/CLASS/; classes are numbered in the order of their names.

    Raises DataFormatError.
    """
    found = ((entry, _class_of(entry.path, split)) for entry in entries)
    pictures = (
        _Picture(entry.path, decode(entry.data, str(entry.path)), label)
        for entry, label in found
        if label is not None
    )
    return _assemble(pictures, source, f"{split}/CLASS/*.jpg")


def read_tiny_imagenet(entries: Iterable[Entry], split: str, source: str) -> Images:
    """Read Tiny-ImageNet's `train` (train/CLASS/images/*) or `val` (val/images/*, annotated).

    Raises DataFormatError.
    """
    if split == "train":
        return read_class_folders(entries, "train", source)
    if split != "val":
        raise DataFormatError(source, f"split '{split}' has no labels; use 'train' or 'val'")
    pictures: list[_Picture] = []
    classes: dict[str, str] = {}
    for entry in entries:
        if entry.path.name == _ANNOTATIONS:
            classes = _annotations(entry.data)
        elif entry.path.parts[-3:-1] == ("val", "images") and _is_picture(entry.path):
            pictures.append(_Picture(entry.path, decode(entry.data, str(entry.path)), ""))
    if unknown := [p.path.name for p in pictures if p.path.name not in classes]:
        raise DataFormatError(source, f"{_ANNOTATIONS} does not name the class of {unknown[0]}")
    labelled = (picture._replace(label=classes[picture.path.name]) for picture in pictures)
    return _assemble(labelled, source, "val/images/*.JPEG")


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


class _Watched:
    """A stream that keeps the last block read.

    A tar ends in blocks of zeros, and `tarfile` accepts any end: so a cut archive is found.
    """

    def __init__(self, stream: _Readable) -> None:
        self._stream = stream
        self.last = b""

    def read(self, size: int = -1, /) -> bytes:
        self.last = self._stream.read(size)
        return self.last


def _decompressed(stream: BufferedReader | BytesIO) -> _Readable:
    magic = stream.read(len(_XZ))
    stream.seek(-len(magic), os.SEEK_CUR)
    if magic == _XZ:
        return lzma.open(stream)
    return gzip.open(stream) if magic.startswith(_GZIP) else stream


class _Picture(NamedTuple):
    path: PurePosixPath
    pixels: Tensor
    label: str


def _class_of(path: PurePosixPath, split: str) -> str | None:
    """Return CLASS of [...]/SPLIT/CLASS/[images/]FILE; None for any other path."""
    folders = path.parts[:-1]
    if folders[-1:] == ("images",):
        folders = folders[:-1]
    inside = len(folders) >= 2 and folders[-2] == split
    return folders[-1] if inside and _is_picture(path) else None


def _is_picture(path: PurePosixPath) -> bool:
    return path.suffix.lower() in _SUFFIXES


def _annotations(data: bytes) -> dict[str, str]:
    """Return the class by file; a line is FILE <tab> CLASS <tab> four numbers of a box."""
    lines = (line.split("\t") for line in data.decode().splitlines())
    return {fields[0]: fields[1] for fields in lines if len(fields) >= 2}


def _assemble(pictures: Iterable[_Picture], source: str, expected: str) -> Images:
    """Return the images in the order of their paths, so that an archive's order changes nothing."""
    ordered = sorted(pictures, key=lambda picture: picture.path)
    if not ordered:
        raise DataFormatError(source, f"it holds no pictures {expected}")
    shape = ordered[0].pixels.shape
    if odd := [p.path for p in ordered if p.pixels.shape != shape]:
        raise DataFormatError(source, f"'{odd[0]}' is not of the size of '{ordered[0].path}'")
    classes = sorted({picture.label for picture in ordered})
    numbers = {name: number for number, name in enumerate(classes)}
    labels = torch.tensor([numbers[picture.label] for picture in ordered])
    return Images(torch.stack([p.pixels for p in ordered]), labels, tuple(classes))
