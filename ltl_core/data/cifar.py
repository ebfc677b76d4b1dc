"""The *binary* batches of CIFAR-10 and CIFAR-100 (Krizhevsky, 2009).

A record is one label byte (CIFAR-100: coarse, then fine) and 3 x 32 x 32 bytes: red, green, blue.
The Python batches of the same data are pickles and are refused.
"""

import torch

from ltl_core.data.images import Images
from ltl_core.errors import DataFormatError, PickleRefusedError

CIFAR10 = (
    *("airplane", "automobile", "bird", "cat", "deer"),
    *("dog", "frog", "horse", "ship", "truck"),
)
_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_INSTEAD = "take the binary version of the data set (cifar-10-binary, cifar-100-binary) instead"


def read_cifar10(data: bytes, source: str) -> Images:
    """Read one of `data_batch_1.bin` .. `test_batch.bin`.

    Raises DataFormatError, and PickleRefusedError for the Python batches.
    """
    return _read(data, source, label_bytes=1, names=CIFAR10, classes=10)


def read_cifar100(data: bytes, source: str, names: tuple[str, ...] = ()) -> Images:
    """Read `train.bin` or `test.bin`, with the 100 fine labels.

    Raises DataFormatError, and PickleRefusedError for the Python batches.
    """
    return _read(data, source, label_bytes=2, names=names, classes=100)


def read_names(data: bytes) -> tuple[str, ...]:
    """Read the class names in `batches.meta.txt` or `fine_label_names.txt`, one a line."""
    return tuple(line.strip() for line in data.decode().splitlines() if line.strip())


def _read(
    data: bytes, source: str, *, label_bytes: int, names: tuple[str, ...], classes: int
) -> Images:
    if data[:1] == b"\x80" and data[1:2] <= b"\x05" and data.endswith(b"."):
        raise PickleRefusedError(source, _INSTEAD)
    record = label_bytes + _PIXELS
    if not data or len(data) % record:
        raise DataFormatError(
            source,
            f"its {len(data)} bytes are not whole records of {record}; fetch the whole file again",
        )
    records = torch.frombuffer(bytearray(data), dtype=torch.uint8).view(-1, record)
    labels = records[:, label_bytes - 1].long()
    if (highest := int(labels.max())) >= classes:
        raise DataFormatError(source, f"label {highest} is not one of {classes} classes")
    return Images(records[:, label_bytes:].reshape(-1, *_SHAPE), labels, names)
