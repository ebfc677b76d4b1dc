"""Export of students as graphs of NIR, the Neuromorphic Intermediate Representation.

NIR is described by Pedersen et al., Nature Communications 2024. A step of the student,
u' = decay u (1 - s) + I, is NIR's leaky integrate-and-fire neuron

    tau dv/dt = (v_leak - v) + r I,   v <- v_reset where v > v_threshold

advanced by forward Euler over one step dt: decay = 1 - dt / tau, and r = tau / dt lets a current
arrive whole; v_leak = v_reset = 0. NIR has neither a number of steps nor integer codes: these
travel as metadata. The readout ends the graph as sums without neurons; average it over the steps.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

import nir
import numpy as np
from torch import Tensor

from ltl_core.errors import SettingError, UnsupportedLayerError
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import AvgPool2d, Conv2d, GlobalAvgPool, Layer, Linear, Shape
from ltl_core.settings import NeuronSettings, Reset
from ltl_core.student.student import Student

TIME_STEP = 1e-4  # s: NIR has none; snnTorch reads every graph with this one
METADATA_KEY = "tandemcal"  # key of a student's metadata in its graph
_OUTPUT, _NEURONS = "output", "_neurons"
ACCEPTED = "accepted is a chain of Conv2d, Affine, Linear, AvgPool2d and Flatten between LIF or IF"


def to_nir(student: Student, time_step: float = TIME_STEP) -> nir.NIRGraph:
    """Return a student as a graph of NIR, which `nir.write` writes to a file.

    `time_step` is in seconds. Weights are the student's, as floats; its codes, scales and number of
    steps travel as metadata, from which `student_from_nir` makes the same student. Raises
    UnsupportedLayerError if the network is not a chain, and SettingError if the student has
    threshold trims or subtracts its threshold.
    """
    _check(student)
    nodes = dict(_nodes(student, time_step))
    names = list(nodes)
    metadata = {METADATA_KEY: json.dumps(_metadata(student, time_step))}
    return nir.NIRGraph(nodes, list(itertools.pairwise(names)), metadata=metadata)


def _check(student: Student) -> None:
    """Raise SettingError or UnsupportedLayerError for what NIR cannot express."""
    if student.neuron.reset is not Reset.ZERO:
        raise SettingError(
            "NIR's neurons reset to a fixed potential, but the spikes of this student subtract the "
            "threshold: train it with the reset 'zero'."
        )
    for name, codes in student.codes.items():
        if bool(codes.threshold.any()):
            raise SettingError(
                f"Layer '{name}' has threshold trims, which belong to one chip: "
                "export the golden student."
            )
    if student.network.input_affine is not None:
        raise SettingError(
            "The network scales its input on the host, for which NIR has no node in front of a "
            "convolution that pads: normalize the samples beforehand and import the teacher again."
        )
    previous = INPUT
    for layer in student.network.layers:
        if student.network.edges[layer.name] != (previous,):
            raise UnsupportedLayerError(layer.name, layer.kind, "only chains can be exported")
        previous = layer.name


def _metadata(student: Student, time_step: float) -> dict[str, Any]:
    scales = {
        "lsb": dict(student.lsb),
        "full_scale": dict(student.full_scale),
        "input_full_scale": student.input_full_scale,
    }
    return {
        "time_step_s": time_step,
        "neuron": student.neuron.model_dump(mode="json"),
        "format": student.format._asdict(),
        "scales": scales,
        "network": student.network.model_dump(mode="json"),
    }


def _nodes(student: Student, time_step: float) -> Iterator[tuple[str, nir.NIRNode]]:
    """Yield names and nodes in the order of the chain."""
    weights, shape = student.weights(), tuple(student.network.input_shape)
    yield INPUT, nir.Input({"input": np.array(shape)})
    for layer in student.network.layers:
        if isinstance(layer, Linear) and len(shape) > 1:
            # NIR's shapes have no batch: all dimensions are flattened, from the first.
            yield f"{layer.name}_flat", nir.Flatten({"input": np.array(shape)}, 0, -1)
        yield layer.name, _node(layer, weights, shape)
        shape = layer.output_shape(shape)
        if isinstance(layer, Conv2d | Linear) and layer is not student.network.layers[-1]:
            yield f"{layer.name}{_NEURONS}", _neurons(student.neuron, shape, time_step)
    yield _OUTPUT, nir.Output({"output": np.array(shape)})


def _node(layer: Layer, weights: Mapping[str, Tensor], shape: Shape) -> nir.NIRNode:
    if isinstance(layer, GlobalAvgPool):
        layer = layer.as_window(shape)
    if isinstance(layer, AvgPool2d):
        return nir.AvgPool2d(np.array(layer.kernel), np.array(layer.stride), np.array((0, 0)))
    if not isinstance(layer, Conv2d | Linear):
        raise UnsupportedLayerError(layer.name, layer.kind, ACCEPTED)
    weight, bias = (weights[f"{layer.name}.{part}"].numpy() for part in ("weight", "bias"))
    if isinstance(layer, Linear):
        return nir.Affine(weight, bias)
    rows, columns = shape[1:]
    return nir.Conv2d(
        (rows, columns), weight, layer.stride, layer.padding, (1, 1), layer.groups, bias
    )


def _neurons(neuron: NeuronSettings, shape: Shape, time_step: float) -> nir.NIRNode:
    threshold, zero = np.full(shape, neuron.threshold), np.zeros(shape)
    if neuron.decay == 1:
        return nir.IF(r=np.ones(shape), v_threshold=threshold, v_reset=zero)
    tau = np.full(shape, time_step / (1 - neuron.decay))
    return nir.LIF(
        tau=tau, r=tau / time_step, v_leak=zero, v_threshold=threshold, v_reset=zero.copy()
    )
