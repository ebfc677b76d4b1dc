"""Checks of uploaded tensors. They need NumPy alone, so that a server need not load torch."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from ltl_core.errors import (
    ActivationRangeError,
    CorruptTensorsError,
    LabelRangeError,
    LayerShapeError,
    MissingActivationsError,
    MissingTensorError,
    NeedlessActivationsError,
    NonFiniteError,
)
from ltl_core.network.layers import Shape
from ltl_core.network.spec import LAYERS_MAX, NetworkSpec
from ltl_core.network.stages import Stage

_ROUNDING = 1e-3  # of a ceiling, in half precision
_LARGEST_HEADER = 5 * LAYERS_MAX  # entries: weight and bias of each layer, and the network's text

ACTIVATION = "activation:"  # begins the name of a tensor of activations; a layer's name follows
LOGITS = "logits"
ACTIVATION_MAX = 1e9  # magnitude; squares of larger ones leave the range of float32

Arrays = Mapping[str, NDArray[Any]]


def read_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays of a safetensors block. Raises CorruptTensorsError.

    A header with more entries than any network has tensors is refused before it is parsed.
    """
    _check_entries(data)
    try:
        return safetensors.numpy.load(data)
    except KeyError as error:
        raise CorruptTensorsError(
            f"its type of numbers {error.args[0]} is not known here; send float32"
        ) from error
    except (SafetensorError, ValueError, TypeError) as error:
        raise CorruptTensorsError(str(error)) from error


def _check_entries(data: bytes) -> None:
    """Count the entries of the header by their braces: no JSON object can do without."""
    length = int.from_bytes(data[:8], "little")
    if data.count(b"{", 8, 8 + length) > _LARGEST_HEADER:
        raise CorruptTensorsError(
            f"its header has more than {_LARGEST_HEADER} entries, and no network as many tensors"
        )


def check_weights(network: NetworkSpec, arrays: Arrays) -> None:
    """Check that arrays are the weights of a network.

    Raises MissingTensorError, LayerShapeError or NonFiniteError.
    """
    shapes = network.tensor_shapes
    _check_names(shapes, arrays)
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise LayerShapeError(name.rpartition(".")[0], shape, arrays[name].shape, what=name)
        _check_floats(name, arrays[name])


def check_samples(network: NetworkSpec, arrays: Arrays) -> int:
    """Check samples and return their number: "inputs", and "labels" if there are any.

    An input is an image, or a sequence of frames; a label is a class, or the values that the
    network should put out. Raises MissingTensorError, NeedlessActivationsError, LayerShapeError,
    NonFiniteError or LabelRangeError.
    """
    if needless := sorted(name for name in arrays if _is_of_a_teacher(name)):
        raise NeedlessActivationsError(needless)
    _check_names({"inputs": ()}, arrays, optional={"labels"})
    return _check_inputs(network, arrays)


def check_activations(network: NetworkSpec, arrays: Arrays) -> int:
    """Check samples with what a teacher made of them, whose weights are not known.

    Beside the tensors of `check_samples` there are "activation:LAYER" for each hidden layer of
    neurons, behind its activation function, and "logits". Return the number of samples. Raises
    what `check_samples` raises, MissingActivationsError, and ActivationRangeError for activations
    that are negative, above the layer's ceiling, or out of all bounds.
    """
    wanted = {"inputs", LOGITS, *(f"{ACTIVATION}{name}" for name in network.activation_shapes)}
    missing, unknown = sorted(wanted - arrays.keys()), sorted(arrays.keys() - wanted - {"labels"})
    if missing or unknown:
        raise MissingActivationsError(missing, unknown)
    samples = _check_inputs(network, arrays)
    for stage in network.stages:
        _check_outputs(stage, samples, arrays)
    return samples


def _is_of_a_teacher(name: str) -> bool:
    return name == LOGITS or name.startswith(ACTIVATION)


def _check_outputs(stage: Stage, samples: int, arrays: Arrays) -> None:
    """Check what one layer put out for all samples."""
    name = LOGITS if stage.is_readout else f"{ACTIVATION}{stage.name}"
    values, shape = arrays[name], (samples, *stage.output_shape)
    if values.shape != shape:
        raise LayerShapeError(stage.name, shape, values.shape, name)
    _check_floats(name, values)
    lowest, highest = float(values.min()), float(values.max())
    if max(-lowest, highest) > ACTIVATION_MAX:
        raise ActivationRangeError(name, lowest, highest, f"none may exceed {ACTIVATION_MAX:g}")
    if stage.is_readout:
        return
    if lowest < 0:
        raise ActivationRangeError(name, lowest, highest, "an activation is not negative")
    if stage.ceiling is not None and highest > stage.ceiling * (1 + _ROUNDING):
        allowed = f"the network clips them at {stage.ceiling:g}"
        raise ActivationRangeError(name, lowest, highest, allowed)


def _check_inputs(network: NetworkSpec, arrays: Arrays) -> int:
    """Check inputs, and labels if there are any; return the number of samples."""
    inputs = arrays["inputs"]
    samples = len(inputs) if inputs.ndim else 0
    if 0 in inputs.shape or network.input_shape not in (inputs.shape[1:], inputs.shape[2:]):
        raise LayerShapeError("input", ("samples", *network.input_shape), inputs.shape, "inputs")
    _check_floats("inputs", inputs)
    if (labels := arrays.get("labels")) is not None:
        _check_labels(network, samples, labels)
    return samples


def _check_labels(network: NetworkSpec, samples: int, labels: NDArray[Any]) -> None:
    if labels.shape == (samples, network.classes) and np.issubdtype(labels.dtype, np.floating):
        _check_floats("labels", labels)
        return
    if labels.shape != (samples,) or not np.issubdtype(labels.dtype, np.integer):
        found = (*labels.shape, str(labels.dtype))
        raise LayerShapeError("input", (samples, "integer"), found, "labels")
    lowest, highest = int(labels.min()), int(labels.max())
    if lowest < 0 or highest >= network.classes:
        raise LabelRangeError(lowest, highest, network.classes)


def _check_names(
    wanted: Mapping[str, Shape], arrays: Arrays, optional: Collection[str] = ()
) -> None:
    missing = sorted(wanted.keys() - arrays.keys())
    unknown = sorted(arrays.keys() - wanted.keys() - set(optional))
    if missing or unknown:
        raise MissingTensorError(missing, unknown)


def _check_floats(name: str, array: NDArray[Any]) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        raise LayerShapeError(name, ("float32",), (str(array.dtype),), "numbers")
    if bad := int(array.size - np.isfinite(array).sum()):
        raise NonFiniteError(name, bad)
