"""Import of NIR graphs: students and other spiking chains. `to_nir` says how they correspond."""

import json
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import nir
import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.interop.float32 import check_float32
from ltl_core.interop.linear_maps import extents
from ltl_core.interop.nir_chain import chain
from ltl_core.interop.to_nir import ACCEPTED, METADATA_KEY, TIME_STEP
from ltl_core.network.layers import AvgPool2d, Conv2d, Linear, Shape, size
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.student.codes import CodeFormat
from ltl_core.student.student import Student

_LARGEST_READOUT = 4096  # neurons that may end a graph


class SpikingNetwork(NamedTuple):
    """A spiking network in float weights, as `ltl_core.spiking.forward.layer_traces` runs it."""

    network: NetworkSpec
    weights: dict[str, Tensor]
    neuron: NeuronSettings


def from_nir(
    graph: nir.NIRGraph, *, steps: int = 16, time_step: float = TIME_STEP
) -> SpikingNetwork:
    """Import a chain of convolutions, matrices and pools between leaky neurons that reset to zero.

    `steps` and `time_step` (in seconds) are used if the graph's metadata has none. If layers have
    different thresholds, all are scaled to the first one's, which changes no spike. A graph that
    ends in neurons gets a readout, OUTPUT_counts, that gives their spikes a step. Raises
    UnsupportedLayerError, which names the node, NonFiniteError, and NetworkError for a graph that
    is no whole chain from one input to one output.
    """
    metadata = _read_metadata(graph)
    if metadata is None:
        return _read(graph, time_step).finish(steps)
    return _read(graph, metadata.time_step).finish_as(metadata.neuron)


def student_from_nir(graph: nir.NIRGraph) -> Student:
    """Return the student that `to_nir` exported, code for code.

    Raises NetworkError for any other graph, or if its metadata are damaged, and
    UnsupportedLayerError.
    """
    metadata = _read_metadata(graph)
    if metadata is None:
        raise NetworkError(
            "This graph holds float weights alone: it was not exported from a student. "
            "Read it with `from_nir`."
        )
    found, weights, neuron = _read(graph, metadata.time_step).finish_as(metadata.neuron)
    if found.tensor_shapes != metadata.network.tensor_shapes:
        raise NetworkError("The graph's metadata describe another network than its nodes do.")
    form = CodeFormat(**metadata.fields["format"])
    student = Student(metadata.network, neuron, form, {}, **metadata.fields["scales"])
    return student.with_weights(weights)


class _Metadata(NamedTuple):
    """What `to_nir` wrote into the metadata of a student's graph."""

    network: NetworkSpec
    neuron: NeuronSettings
    time_step: float  # s
    fields: Mapping[str, Any]  # all of it


def _read_metadata(graph: nir.NIRGraph) -> _Metadata | None:
    """Return the metadata of a graph that was a student, else None. Raises NetworkError."""
    text = graph.metadata.get(METADATA_KEY)
    if text is None:
        return None
    try:
        fields: Mapping[str, Any] = json.loads(text)
        neuron = NeuronSettings.model_validate(fields["neuron"])
        network = NetworkSpec.model_validate(fields["network"])
        return _Metadata(network, neuron, float(fields["time_step_s"]), fields)
    except (KeyError, TypeError, ValueError) as error:
        raise NetworkError(f"The graph's metadata '{METADATA_KEY}' is damaged: {error}.") from error


def _read(graph: nir.NIRGraph, time_step: float) -> "_Reader":
    reader = _Reader(time_step)
    for name, node in chain(graph):
        reader.take(name, node)
    return reader


class _Dynamics(NamedTuple):
    decay: float
    gain: float  # fraction of a current that arrives at the membrane
    threshold: float


class _Reader:
    """Collects the layers along the chain; neurons belong to the layer before them."""

    def __init__(self, time_step: float) -> None:
        self._time_step = time_step
        self._shape: tuple[int, ...] = ()
        self._layers: list[Conv2d | Linear | AvgPool2d] = []
        self._weights: dict[str, Tensor] = {}
        self._dynamics: dict[str, _Dynamics] = {}
        self._end = "output"
        self._waiting: str | None = None  # the weighted layer whose neurons have not come yet

    def take(self, name: str, node: nir.NIRNode) -> None:
        if isinstance(node, nir.Input):
            self._shape = _input_shape(name, node)
        elif isinstance(node, nir.Affine | nir.Linear | nir.Conv2d):
            self._add(_layer(name, node), node)
        elif isinstance(node, nir.AvgPool2d) and self._waiting is None:
            self._layers.append(_pool(name, node))
        elif isinstance(node, nir.LIF | nir.IF) and self._waiting is not None:
            self._dynamics[self._waiting] = _dynamics(name, node, self._time_step)
            self._waiting = None
        elif isinstance(node, nir.Output):
            self._end = name
        elif not isinstance(node, nir.Flatten):
            raise UnsupportedLayerError(name, type(node).__name__, ACCEPTED)

    def finish(self, steps: int) -> SpikingNetwork:
        """Return the network with all layers at the first one's threshold.

        Raises NetworkError, and UnsupportedLayerError if time constants differ.
        """
        return self.finish_as(self._neuron(steps))

    def finish_as(self, neuron: NeuronSettings) -> SpikingNetwork:
        """Return the network with all layers at the threshold of `neuron`. Raises NetworkError."""
        self._read_counts()
        network = self._network()
        for name, dynamics in self._dynamics.items():
            factor = dynamics.gain * neuron.threshold / dynamics.threshold
            for field in ("weight", "bias"):
                # A factor that is 1 but for rounding must not change a student's own weights.
                if abs(factor - 1) > 1e-12:
                    self._weights[f"{name}.{field}"] *= factor
        return SpikingNetwork(network, self._weights, neuron)

    def _network(self) -> NetworkSpec:
        try:
            return NetworkSpec(input_shape=self._shape, layers=tuple(self._layers))
        except ValidationError as error:
            raise NetworkError(f"The graph is no network: {error.errors()[0]['msg']}.") from error

    def _read_counts(self) -> None:
        """Add a readout behind neurons that end the graph: their spikes a step, one to one."""
        if self._waiting is not None:
            return
        if not self._layers or not isinstance(self._layers[-1], Conv2d | Linear):
            raise NetworkError("The graph must end in a layer with weights, or in its neurons.")
        shape: Shape = self._shape
        for layer in self._layers:
            shape = layer.output_shape(shape)
        outputs = size(shape)
        if outputs > _LARGEST_READOUT:
            raise NetworkError(
                f"The graph ends in {outputs} neurons; end it in one a class, at most "
                f"{_LARGEST_READOUT}, or in a layer without neurons."
            )
        name = f"{self._end}_counts"
        self._layers.append(Linear(name=name, in_features=outputs, out_features=outputs))
        self._weights[f"{name}.weight"] = torch.eye(outputs)
        self._weights[f"{name}.bias"] = torch.zeros(outputs)

    def _neuron(self, steps: int) -> NeuronSettings:
        first = next(iter(self._dynamics.values()), None)
        if first is None:
            return NeuronSettings(steps=steps, warmup=steps - steps // 4 - 1)
        for name, dynamics in self._dynamics.items():
            if abs(dynamics.decay - first.decay) > 1e-9:
                raise UnsupportedLayerError(name, "LIF", "give all layers one time constant")
        return NeuronSettings(
            threshold=first.threshold,
            decay=first.decay,
            surrogate_width=first.threshold / 3,
            steps=steps,
            warmup=steps - steps // 4 - 1,
        )

    def _add(self, layer: Conv2d | Linear, node: nir.NIRNode) -> None:
        if self._waiting is not None:
            raise UnsupportedLayerError(
                layer.name, type(node).__name__, f"put neurons between it and '{self._waiting}'"
            )
        bias = getattr(node, "bias", np.zeros(len(node.weight)))
        for part, value in (("weight", node.weight), ("bias", bias)):
            values = torch.tensor(value, dtype=torch.float32)
            check_float32(f"{layer.name}.{part}", values)
            self._weights[f"{layer.name}.{part}"] = values
        self._layers.append(layer)
        self._waiting = layer.name


def _layer(name: str, node: nir.NIRNode) -> Conv2d | Linear:
    weight = node.weight
    if not isinstance(node, nir.Conv2d):
        columns, rows = weight.shape
        return Linear(name=name, in_features=rows, out_features=columns)
    if isinstance(node.padding, str) or _pair(node.dilation) != (1, 1):
        raise UnsupportedLayerError(name, "Conv2d", "give the padding in numbers, and dilation 1")
    return Conv2d(
        name=name,
        in_channels=weight.shape[1] * int(node.groups),
        out_channels=weight.shape[0],
        kernel=_pair(weight.shape[2:]),
        stride=_pair(node.stride),
        padding=_pair(node.padding),
        groups=int(node.groups),
    )


def _pool(name: str, node: nir.AvgPool2d) -> AvgPool2d:
    if _pair(node.padding) != (0, 0):
        raise UnsupportedLayerError(name, "AvgPool2d", "use no padding")
    return AvgPool2d(name=name, kernel=_pair(node.kernel_size), stride=_pair(node.stride))


def _dynamics(name: str, node: nir.LIF | nir.IF, time_step: float) -> _Dynamics:
    """Return the constants of a layer, shared by its neurons. Raises UnsupportedLayerError."""
    kind = type(node).__name__
    threshold, resistance = _single(name, kind, node.v_threshold), _single(name, kind, node.r)
    if threshold <= 0:
        raise UnsupportedLayerError(
            name, kind, f"its threshold is {threshold:g}, but must be above zero"
        )
    if _single(name, kind, node.v_reset) != 0:
        raise UnsupportedLayerError(name, kind, "neurons must reset to zero")
    if isinstance(node, nir.IF):
        return _Dynamics(1.0, resistance, threshold)
    if _single(name, kind, node.v_leak) != 0:
        raise UnsupportedLayerError(name, kind, "neurons must leak to zero")
    tau = _single(name, kind, node.tau)
    if tau <= time_step:
        raise UnsupportedLayerError(
            name,
            kind,
            f"its time constant is {tau:g} s, but must be longer than a step of {time_step:g} s; "
            "give a shorter `time_step`",
        )
    return _Dynamics(1 - time_step / tau, resistance * time_step / tau, threshold)


def _single(name: str, kind: str, values: Any) -> float:
    found = np.unique(np.asarray(values))
    if found.size != 1:
        raise UnsupportedLayerError(name, kind, "all neurons of a layer must share their constants")
    value = float(found[0])
    if not math.isfinite(value):
        raise UnsupportedLayerError(name, kind, "its constants must be finite numbers")
    return value


def _input_shape(name: str, node: nir.Input) -> Shape:
    """Return the shape of one sample, without a batch. Raises NetworkError."""
    found = [None if extent is None else int(extent) for extent in node.output_type["output"]]
    shape = tuple(extent for extent in found if extent is not None and extent > 0)
    if len(shape) != len(found) or len(shape) not in (1, 3):
        raise NetworkError(
            f"The input '{name}' has the shape {found}; give (features) or (channels, rows, "
            "columns) of one sample, without a batch."
        )
    return shape


def _pair(value: Any) -> tuple[int, int]:
    rows, columns = extents(np.asarray(value).ravel(), 2)
    return rows, columns
