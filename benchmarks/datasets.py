"""Open the files of a data set and hand their bytes to the readers."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits

from benchmarks import spoken_digits as speaking
from benchmarks.missing_data import MissingDataError
from ltl_core.data.cifar import read_cifar10, read_cifar100, read_names
from ltl_core.data.folders import (
    Entry,
    read_class_folders,
    read_tiny_imagenet,
    tar_entries,
    zip_entries,
)
from ltl_core.data.idx import read_idx_images
from ltl_core.data.images import Images, stack
from ltl_core.errors import DataFormatError

PLACE = "TANDEMCAL_DATA"  # the environment variable that names the folder of data sets
DEBIAN = Path("/usr/share/datasets")
FASHION = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
_DIGITS_TEST = 360


class Split(NamedTuple):
    """Training samples, and samples that are only measured."""

    train: Images
    test: Images


def default_folder() -> Path:
    """Folder of the data sets: TANDEMCAL_DATA, else where Debian's packages put them."""
    return Path(os.environ.get(PLACE, DEBIAN))


def digits(folder: Path) -> Split:  # noqa: ARG001 - comes with scikit-learn
    """1797 handwritten digits of 8 x 8 pixels, shuffled; a fifth is held out."""
    found = load_digits()
    pixels = torch.from_numpy(found.images).mul(255 / 16).round().to(torch.uint8).unsqueeze(1)
    names = tuple(str(name) for name in found.target_names)
    images = Images(pixels, torch.from_numpy(found.target).long(), names)
    order = torch.randperm(images.size, generator=torch.Generator().manual_seed(0))
    return Split(images.take(order[_DIGITS_TEST:]), images.take(order[:_DIGITS_TEST]))


def fashion_mnist(folder: Path) -> Split:
    """60,000 and 10,000 pictures of 28 x 28 pixels. Raises MissingDataError, DataFormatError."""
    home = _first_with(
        "train-images-idx3-ubyte.gz",
        *(folder / "fashion-mnist", folder, DEBIAN / "fashion-mnist"),
        advice="install Debian's package dataset-fashion-mnist",
    )
    return Split(*(_idx_pair(home, part) for part in ("train", "t10k")))


def cifar10(folder: Path) -> Split:
    """50,000 and 10,000 pictures of 32 x 32 pixels: the binary batches, or the tar of JPEGs.

    Raises MissingDataError, DataFormatError.
    """
    archive = folder / "cifar10-jpeg.tar.xz"
    if archive.is_file():
        with _entries(archive) as entries:
            kept = list(entries)
        return Split(*(read_class_folders(kept, part, archive.name) for part in ("train", "test")))
    home = _first_with(
        "data_batch_1.bin",
        *(folder / "cifar-10-batches-bin", folder),
        advice="unpack the binary version of CIFAR-10 there, or put cifar10-jpeg.tar.xz there",
    )
    train = [_read(home / f"data_batch_{number}.bin", read_cifar10) for number in range(1, 6)]
    return Split(stack(train), _read(home / "test_batch.bin", read_cifar10))


def cifar100(folder: Path) -> Split:
    """The binary version, with its 100 fine labels. Raises MissingDataError, DataFormatError."""
    home = _first_with(
        "fine_label_names.txt",
        *(folder / "cifar-100-binary", folder),
        advice="unpack the binary version of CIFAR-100 there",
    )
    names = read_names((home / "fine_label_names.txt").read_bytes())
    parts = ((home / f"{part}.bin") for part in ("train", "test"))
    return Split(*(read_cifar100(path.read_bytes(), path.name, names) for path in parts))


def tiny_imagenet(folder: Path) -> Split:
    """200 classes of 64 x 64 pixels, from the folders or the zip.

    Raises MissingDataError, DataFormatError.
    """
    folders, archive = folder / "tiny-imagenet-200", folder / "tiny-imagenet-200.zip"
    place = folders if folders.is_dir() else archive
    if not place.exists():
        raise MissingDataError(f"Neither {folders} nor {archive} is there.")
    images = []
    for part in ("train", "val"):
        with _entries(place) as entries:
            images.append(read_tiny_imagenet(entries, part, place.name))
    train, test = images
    if train.classes != test.classes:
        raise DataFormatError(place.name, "train and val do not have the same classes")
    return Split(train, test)


def spoken_digits(folder: Path) -> Split:
    """9,000 and 3,000 spectrograms of spoken digits, of 32 x 32 levels; other voices in the test.

    Raises MissingDataError.
    """
    return Split(*speaking.spoken_digits(folder))


@contextmanager
def _entries(place: Path) -> Iterator[Iterator[Entry]]:
    """The files of a folder, a zip or a tar."""
    if place.is_dir():
        files = (path for path in sorted(place.rglob("*")) if path.is_file())
        yield (Entry(_below(path, place), path.read_bytes()) for path in files)
        return
    with place.open("rb") as stream:
        reader = zip_entries if place.suffix == ".zip" else tar_entries
        yield reader(stream, place.name)


def _below(path: Path, place: Path) -> PurePosixPath:
    return PurePosixPath(path.relative_to(place).as_posix())


def _idx_pair(home: Path, part: str) -> Images:
    images, labels = (
        (home / f"{part}-{kind}-ubyte.gz").read_bytes() for kind in ("images-idx3", "labels-idx1")
    )
    return read_idx_images(images, labels, f"fashion-mnist {part}", FASHION)


def _read(path: Path, reader: Callable[[bytes, str], Images]) -> Images:
    return reader(path.read_bytes(), path.name)


def _first_with(name: str, *folders: Path, advice: str) -> Path:
    for folder in folders:
        if (folder / name).is_file():
            return folder
    tried = ", ".join(str(folder) for folder in folders)
    raise MissingDataError(f"No {name} in {tried}: {advice}, or name the folder in {PLACE}.")
