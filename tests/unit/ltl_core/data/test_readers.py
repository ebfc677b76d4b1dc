"""Readers of data sets: every byte is where it belongs, and damaged files are refused by name."""

import gzip
import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

import pytest
import torch
from PIL import Image
from torch import Tensor

from ltl_core.data.augment import crop_and_flip
from ltl_core.data.cifar import CIFAR10, read_cifar10, read_cifar100, read_names
from ltl_core.data.folders import (
    Entry,
    read_class_folders,
    read_tiny_imagenet,
    tar_entries,
    zip_entries,
)
from ltl_core.data.idx import read_idx, read_idx_images
from ltl_core.data.images import Images, Scaling, as_samples, scaling_of, stack
from ltl_core.errors import DataFormatError, PickleRefusedError, SettingError


def _bytes(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)


def _idx(values: Tensor) -> bytes:
    header = struct.pack(f">HBB{values.dim()}I", 0, 8, values.dim(), *values.shape)
    return header + values.numpy().tobytes()


def _picture(pixels: Tensor, kind: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, kind)
    return file.getvalue()


# IDX


@pytest.mark.parametrize("packing", [bytes, gzip.compress])
def test_idx_holds_its_array(packing: Callable[[bytes], bytes]) -> None:
    values = _bytes(5, 4, 3)
    assert torch.equal(read_idx(packing(_idx(values)), "file"), values)


def test_idx_pictures_and_labels_belong_together() -> None:
    pixels, labels = _bytes(3, 4, 4), torch.tensor([2, 0, 1], dtype=torch.uint8)
    images = read_idx_images(_idx(pixels), _idx(labels), "set", ("a", "b", "c"))
    assert images.pixels.shape == (3, 1, 4, 4)
    assert torch.equal(images.labels, torch.tensor([2, 0, 1]))
    with pytest.raises(DataFormatError, match="do not belong together"):
        read_idx_images(_idx(pixels), _idx(labels[:2]), "set")
    with pytest.raises(DataFormatError, match="label 2 names none of 2 classes"):
        read_idx_images(_idx(pixels), _idx(labels), "set", ("a", "b"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "announces 60 elements, but 59 bytes follow"),
        (lambda data: data + b"x", "announces 60 elements, but 61 bytes follow"),
        (lambda data: b"\x89PNG" + data, "two zero bytes"),
        (lambda data: data[:0], "two zero bytes"),
        (lambda data: data[:2] + b"\x0d" + data[3:], "0x0d, not unsigned bytes"),
        (lambda data: data[:7], "cut short"),
        (lambda data: gzip.compress(data)[:-9], "gzip stream is damaged"),
        (lambda data: b"\x1f\x8b" + data, "gzip stream is damaged"),
    ],
)
def test_damaged_idx_is_refused(damage: Callable[[bytes], bytes], words: str) -> None:
    with pytest.raises(DataFormatError, match=f"'file' cannot be read: .*{words}"):
        read_idx(damage(_idx(_bytes(5, 4, 3))), "file")


# CIFAR


def test_cifar_records_are_label_then_red_green_blue() -> None:
    pixels = _bytes(3, 3, 32, 32)
    batch = b"".join(
        bytes([label]) + p.numpy().tobytes() for label, p in zip((9, 0, 4), pixels, strict=True)
    )
    images = stack([read_cifar10(batch, "data_batch_1.bin")] * 2)
    assert torch.equal(images.pixels, torch.cat([pixels, pixels]))
    assert [images.classes[label] for label in images.labels[:3]] == ["truck", "airplane", "deer"]


def test_cifar100_takes_the_fine_label() -> None:
    record = bytes([7, 83]) + _bytes(3, 32, 32).numpy().tobytes()
    names = read_names("\n".join(f"class {n}" for n in range(100)).encode())
    images = read_cifar100(record, "train.bin", names)
    assert images.labels.tolist() == [83]
    assert images.classes[83] == "class 83"


def test_cifar_pickles_are_refused_with_the_reason() -> None:
    for protocol in range(2, 6):
        data = pickle.dumps({b"data": [1, 2, 3]}, protocol)
        with pytest.raises(PickleRefusedError, match=r"runs whatever code.*binary version"):
            read_cifar10(data, "data_batch_1")


def test_damaged_cifar_is_refused() -> None:
    with pytest.raises(DataFormatError, match="not whole records of 3073"):
        read_cifar10(bytes(3072), "cut")
    with pytest.raises(DataFormatError, match="label 10 is not one of 10"):
        read_cifar10(bytes([10]) + bytes(3072), "odd")
    assert len(CIFAR10) == 10


# Folders


def _entries(count: int = 2) -> dict[str, bytes]:
    files = {"README.md": b"words", "train/list.jpg.txt": b"no picture"}
    for part, classes in (("train", ("cat", "bird")), ("test", ("bird", "cat"))):
        for name in classes:
            for number in range(count):
                seed = 100 * len(files)
                files[f"{part}/{name}/{number}.png"] = _picture(_bytes(3, 8, 8, seed=seed))
    return files


def _tar(files: dict[str, bytes], mode: str) -> io.BytesIO:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    stream.seek(0)
    return stream


@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz"])
def test_classes_are_numbered_by_name_whatever_the_order(mode: str) -> None:
    files = _entries()
    backwards = dict(reversed(files.items()))
    images = read_class_folders(tar_entries(_tar(files, mode), "tar"), "train", "tar")
    again = read_class_folders(tar_entries(_tar(backwards, mode), "tar"), "train", "tar")
    assert images.classes == ("bird", "cat")
    assert images.labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(images.pixels, again.pixels)
    expected = Image.open(io.BytesIO(files["train/cat/1.png"])).tobytes()
    assert images.pixels[3].permute(1, 2, 0).numpy().tobytes() == expected


def test_jpeg_is_decoded_near_its_pixels() -> None:
    smooth = torch.arange(64, dtype=torch.uint8).mul(2).view(8, 8).expand(3, 8, 8)
    path = PurePosixPath("train/ramp/0.JPEG")
    images = read_class_folders([Entry(path, _picture(smooth, "JPEG"))], "train", "list")
    assert (images.pixels[0].int() - smooth.int()).abs().max() < 12
    assert (images.pixels[0].int() - smooth.flip(1).int()).abs().max() > 50


def test_gray_pictures_become_three_channels() -> None:
    file = io.BytesIO()
    Image.new("L", (8, 8), 77).save(file, "PNG")
    entry = Entry(PurePosixPath("train/gray/0.png"), file.getvalue())
    assert torch.equal(
        read_class_folders([entry], "train", "x").pixels,
        torch.full((1, 3, 8, 8), 77, dtype=torch.uint8),
    )


def _tiny() -> Iterator[Entry]:
    for name in ("n02", "n01"):
        path = PurePosixPath(f"tiny-imagenet-200/train/{name}/images/{name}_0.JPEG")
        yield Entry(path, _picture(_bytes(3, 64, 64), "JPEG"))
    for number in range(2):
        path = PurePosixPath(f"tiny-imagenet-200/val/images/val_{number}.JPEG")
        yield Entry(path, _picture(_bytes(3, 64, 64), "JPEG"))
    words = "val_0.JPEG\tn02\t0\t0\t9\t9\nval_1.JPEG\tn01\t0\t0\t9\t9\n"
    yield Entry(PurePosixPath("tiny-imagenet-200/val/val_annotations.txt"), words.encode())


def test_tiny_imagenet_validation_takes_its_classes_from_the_annotations() -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for entry in _tiny():
            archive.writestr(str(entry.path), entry.data)
    train = read_tiny_imagenet(zip_entries(stream, "zip"), "train", "zip")
    val = read_tiny_imagenet(zip_entries(stream, "zip"), "val", "zip")
    assert train.classes == val.classes == ("n01", "n02")
    assert train.labels.tolist() == [0, 1]
    assert val.labels.tolist() == [1, 0]
    with pytest.raises(DataFormatError, match=r"does not name the class of val_0\.JPEG"):
        read_tiny_imagenet(list(_tiny())[:-1], "val", "folder")
    with pytest.raises(DataFormatError, match="split 'test' has no labels"):
        read_tiny_imagenet(_tiny(), "test", "folder")


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"train/cat/0.png": b"not a picture"}, "neither a JPEG nor a PNG"),
        ({"train/cat/0.png": _picture(_bytes(3, 8, 8))[:-60]}, "picture is damaged"),
        ({"train/cat/0.png": _picture(_bytes(3, 9, 8))}, "not of the size of"),
    ],
)
def test_damaged_pictures_are_refused_by_path(changed: dict[str, bytes], words: str) -> None:
    stream = _tar(_entries() | changed, "w")
    with pytest.raises(DataFormatError, match=f"train/cat/0.png.*{words}"):
        read_class_folders(tar_entries(stream, "tar"), "train", "tar")


def test_damaged_archives_are_refused() -> None:
    for mode in ("w", "w:xz", "w:gz"):
        whole = _tar(_entries(8), mode).getvalue()
        cut = io.BytesIO(whole[: len(whole) // 2])
        with pytest.raises(DataFormatError, match="archive is damaged"):
            list(tar_entries(cut, "tar"))
    plain = bytearray(_tar(_entries(8), "w").getvalue())
    plain[len(plain) // 2] ^= 1  # in a header, or the picture that follows it
    with pytest.raises(DataFormatError, match="damaged"):
        read_class_folders(tar_entries(io.BytesIO(plain), "tar"), "train", "tar")
    with pytest.raises(DataFormatError, match="archive is damaged"):
        list(zip_entries(io.BytesIO(b"PK not"), "zip"))
    with pytest.raises(DataFormatError, match="holds no pictures val/CLASS"):
        read_class_folders(tar_entries(_tar(_entries(), "w"), "tar"), "val", "tar")


# What a network sees


def test_scaling_gives_mean_zero_and_deviation_one() -> None:
    images = Images(_bytes(50, 3, 6, 6), torch.zeros(50, dtype=torch.int64), ())
    inputs = as_samples(images, scaling_of(images)).inputs
    torch.testing.assert_close(inputs.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(inputs.std((0, 2, 3), correction=0), torch.ones(3))
    with pytest.raises(SettingError, match="3 channels"):
        as_samples(images, Scaling((0.0,), (1.0,)))


def test_crops_are_shifts_with_zeros_moving_in() -> None:
    inputs = torch.rand(200, 2, 7, 5) + 1
    moved = crop_and_flip(inputs, torch.Generator().manual_seed(0), padding=2)
    padded = torch.nn.functional.pad(inputs, (2, 2, 2, 2))
    offsets = set()
    for before, after in zip(padded, moved, strict=True):
        found = [
            (down, across, mirrored)
            for down in range(5)
            for across in range(5)
            for mirrored in (False, True)
            if torch.equal(
                after.flip(-1) if mirrored else after,
                before[:, down : down + 7, across : across + 5],
            )
        ]
        assert len(found) == 1
        offsets.add(found[0])
    assert len(offsets) > 40  # of 50: all of them turn up


def test_without_padding_and_flip_nothing_moves() -> None:
    inputs = torch.rand(4, 1, 5, 5)
    still = crop_and_flip(inputs, torch.Generator().manual_seed(0), padding=0, flip=False)
    assert torch.equal(still, inputs)
