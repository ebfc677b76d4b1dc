"""Is this upload usable? NumPy alone, so that a server can ask without loading torch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ltl_core.errors import (
    CorruptTensorsError,
    LabelRangeError,
    LayerShapeError,
    MissingTensorError,
    NonFiniteError,
)
from ltl_core.network import NetworkSpec, Shape

Arrays = Mapping[str, NDArray[Any]]


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of a safetensors block. Raises CorruptTensorsError."""
    try:
        return safetensors.numpy.load(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CorruptTensorsError(str(error)) from error


def check_weights(network: NetworkSpec, arrays: Arrays) -> None:
    """Raises MissingTensorError, LayerShapeError or NonFiniteError."""
    shapes = network.tensor_shapes
    _check_names(shapes, arrays)
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise LayerShapeError(name.rpartition(".")[0], shape, arrays[name].shape, what=name)
        _check_floats(name, arrays[name])


def check_samples(network: NetworkSpec, arrays: Arrays) -> int:
    """How many samples "inputs" and "labels" hold.

    Raises MissingTensorError, LayerShapeError, NonFiniteError or LabelRangeError.
    """
    _check_names({"inputs": (), "labels": ()}, arrays)
    inputs, labels = arrays["inputs"], arrays["labels"]
    samples = len(inputs) if inputs.ndim else 0
    if samples == 0 or inputs.shape[1:] != network.input_shape:
        raise LayerShapeError("input", ("samples", *network.input_shape), inputs.shape, "inputs")
    if labels.shape != (samples,) or not np.issubdtype(labels.dtype, np.integer):
        found = (*labels.shape, str(labels.dtype))
        raise LayerShapeError("input", (samples, "integer"), found, "labels")
    _check_floats("inputs", inputs)
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= network.classes:
        raise LabelRangeError(lowest, highest, network.classes)
    return samples


def _check_names(wanted: Mapping[str, Shape], arrays: Arrays) -> None:
    missing, unknown = sorted(wanted.keys() - arrays.keys()), sorted(arrays.keys() - wanted.keys())
    if missing or unknown:
        raise MissingTensorError(missing, unknown)


def _check_floats(name: str, array: NDArray[Any]) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        raise LayerShapeError(name, ("float32",), (str(array.dtype),), "numbers")
    if bad := int(array.size - np.isfinite(array).sum()):
        raise NonFiniteError(name, bad)
