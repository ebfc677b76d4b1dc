"""Arrays and tensors as safetensors blocks and back, without torch."""

import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from service.client.errors import TandemcalError

Array = NDArray[Any]
RAW_CODES = 16  # inputs that are whole numbers and reach this far are taken for codes of pixels


class Samples(NamedTuple):
    """Inputs with labels: the class of each, or the output values of each; or without labels.

    Both are arrays, or tensors in main memory. Without labels the outputs of the teacher are
    learned.
    """

    inputs: Any  # [sample, *input_shape], or [sample, time, *input_shape]
    labels: Any = None  # [sample] integers, or [sample, output] floats


class AnsweredSamples(NamedTuple):
    """Samples with what the lab's own model made of them, for a teacher without weights.

    Activations are those behind the activation function, as `run_teacher` returns them. Labels may
    be None, as those of `Samples`.
    """

    inputs: Any  # as of `Samples`
    labels: Any
    activations: Mapping[str, Any]  # by hidden layer of neurons: [sample, *output]
    logits: Any  # [sample, output]


AnySamples = Samples | AnsweredSamples


class Chunk(NamedTuple):
    """One part of a target set, ready to upload."""

    number: int
    split: str
    block: bytes


class ArrayChange(NamedTuple):
    """How one array of two versions differs."""

    name: str
    entries: int
    changed: int  # entries that differ
    mean: float  # mean magnitude of the differences of those that differ, codes
    largest: float  # magnitude of the largest difference, codes


def as_array(values: Any) -> Array:
    """Convert to a contiguous array; a tensor is detached from autograd first."""
    detached = values.detach() if hasattr(values, "detach") else values
    return np.ascontiguousarray(detached)


def pack(tensors: Mapping[str, Any], metadata: Mapping[str, str] | None = None) -> bytes:
    """Build a safetensors block; floats are converted to single precision."""
    arrays = {name: as_array(values) for name, values in tensors.items()}
    singles = {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }
    return save(singles, dict(metadata or {}))


def unpack(block: bytes) -> dict[str, Array]:
    """Return the arrays of a safetensors block."""
    return load(block)


def chunk_count(splits: Mapping[str, AnySamples], chunk_samples: int) -> int:
    """Return how many chunks of at most `chunk_samples` samples the splits make."""
    return sum(-(-len(samples.inputs) // chunk_samples) for samples in splits.values())


def check_counts(splits: Mapping[str, AnySamples]) -> None:
    """Check that every sample has a label, activations and logits, if any has.

    Raises TandemcalError.
    """
    for split, samples in splits.items():
        found = {"labels": samples.labels}
        if isinstance(samples, AnsweredSamples):
            found |= {f"activations of '{n}'": a for n, a in samples.activations.items()}
            found["logits"] = samples.logits
        for what, values in found.items():
            if values is not None and len(values) != len(samples.inputs):
                raise TandemcalError(0, _miscounted(split, len(samples.inputs), what, len(values)))


def _miscounted(split: str, inputs: int, what: str, count: int) -> dict[str, str]:
    title = what.partition(" ")[0].capitalize()
    one = "one label for each input, or none" if what == "labels" else "one row for each input"
    return {
        "title": f"{title} do not match the inputs",
        "detail": f"The split '{split}' has {inputs} inputs, but {count} {what}: give {one}.",
    }


def unlike_learned(inputs: Any) -> str | None:
    """Say that inputs look like raw codes of pixels, which few teachers learn; else None."""
    array = as_array(inputs)
    largest = float(array.max(initial=0))
    if largest < RAW_CODES or float(array.min(initial=0)) < 0 or np.any(array != np.rint(array)):
        return None
    return (
        f"All inputs are whole numbers, up to {largest:g}. If the teacher was trained on "
        f"inputs from 0 to 1, divide them by {largest:g}: it answers wrongly to others."
    )


def cut(splits: Mapping[str, AnySamples], chunk_samples: int) -> Iterator[Chunk]:
    """Yield the chunks; the same samples give the same chunks, so an upload can be resumed.

    Raises TandemcalError if inputs and what belongs to them differ in number.
    """
    check_counts(splits)
    number = 0
    for split, samples in splits.items():
        arrays = _arrays(samples)
        for start in range(0, len(arrays["inputs"]), chunk_samples):
            part = slice(start, start + chunk_samples)
            block = pack({name: array[part] for name, array in arrays.items()})
            yield Chunk(number, split, block)
            number += 1


def _arrays(samples: AnySamples) -> dict[str, Array]:
    """Return the arrays of samples by the names of their tensors in a chunk."""
    arrays = {"inputs": as_array(samples.inputs)}
    if samples.labels is not None:
        arrays["labels"] = _as_labels(as_array(samples.labels))
    if isinstance(samples, AnsweredSamples):
        arrays["logits"] = as_array(samples.logits)
        given = samples.activations.items()
        arrays |= {f"activation:{name}": as_array(values) for name, values in given}
    return arrays


def _as_labels(labels: Array) -> Array:
    return labels if labels.dtype.kind == "f" else labels.astype(np.int64)


def changes(before: Mapping[str, Array], after: Mapping[str, Array]) -> list[ArrayChange]:
    """Compare the arrays of two versions by name; one that only one of them has differs whole."""
    return [_change(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]


def _change(name: str, before: Array | None, after: Array | None) -> ArrayChange:
    if before is None or after is None or before.shape != after.shape:
        size = max(one.size for one in (before, after) if one is not None)
        return ArrayChange(name, size, size, math.nan, math.nan)
    moved = np.abs(after.astype(float) - before.astype(float))
    moved = moved[moved > 0]
    mean, largest = (float(moved.mean()), float(moved.max())) if moved.size else (0.0, 0.0)
    return ArrayChange(name, before.size, moved.size, mean, largest)
