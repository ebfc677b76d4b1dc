"""The check that ends every import: network and module are run on the same random inputs."""

import math
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, fx, nn

from ltl_core.errors import NetworkError
from ltl_core.interop.reading import ReadNetwork
from ltl_core.interop.tracing import Trace, is_unchanged, value_of
from ltl_core.teaching.teacher import TeacherOutput, run_teacher

TOLERANCE = 1e-5  # largest difference of a logit, relative to the largest logit
# Of a hidden layer: sums that nearly cancel lose more in float32 than what they add up to.
HIDDEN_TOLERANCE = 1e-4
_SAMPLES = 2  # of each distribution, in the check of the logits
# A layer of a large image has so many positions that one sample tests it as three of a small one
# do; its convolutions in float64 take nearly all of the time of an import.
_LARGE = 2**15  # values of one input


class DisagreementError(NetworkError):
    """An imported network computes something else than its module."""

    def __init__(self, layer: str, difference: float) -> None:
        super().__init__(
            f"The imported network differs from the module, first in layer '{layer}' (by "
            f"{difference:.2g} of its largest value), so it is refused: leave out hooks, "
            "operations that change a value in place while it is still read, and random numbers."
        )
        self.layer = layer
        self.difference = difference


def check_agreement(
    module: nn.Module, trace: Trace, read: ReadNetwork, rng: torch.Generator
) -> None:
    """Check that a network computes what its module does. Raises DisagreementError."""
    shape, dtype = trace.inputs.shape[1:], trace.inputs.dtype
    large = math.prod(shape) > _LARGE
    count = 1 if large else _SAMPLES
    normal = torch.randn(count, *shape, generator=rng, dtype=dtype)
    inputs = torch.cat((normal, torch.rand(count, *shape, generator=rng, dtype=dtype)))
    read = read._replace(weights={name: w.to(dtype) for name, w in read.weights.items()})
    ours = _run(read, inputs).logits
    with torch.no_grad():
        found = _only_tensor(module(inputs.clone()))
    differences = [_difference(read.score(ours) if read.score else ours, found)]
    traced = _run(read, trace.inputs[:1] if large else trace.inputs)
    if read.score:
        # Behind a softmax a common shift of the logits is not seen.
        logits = value_of(read.logits)[: len(traced.logits)]
        differences.append(_difference(traced.logits, logits))
    if error := _hidden_difference(trace, read, traced, max(differences)):
        raise error
    if (largest := max(differences)) > TOLERANCE:
        raise DisagreementError(read.network.stages[-1].name, largest)


def _only_tensor(result: Any) -> Tensor:
    """Return the tensor that a module returned, alone or in a tuple, list or dict."""
    while isinstance(result, dict | tuple | list):
        (result,) = result.values() if isinstance(result, dict) else result
    return torch.as_tensor(result)


def _run(read: ReadNetwork, inputs: Tensor) -> TeacherOutput:
    samples = inputs.reshape(len(inputs), *read.network.input_shape)
    with torch.no_grad():
        return run_teacher(read.network, read.weights, samples)


def _hidden_difference(
    trace: Trace, read: ReadNetwork, traced: TeacherOutput, of_logits: float
) -> DisagreementError | None:
    """Return the error for the first layer of neurons that differs on the traced samples.

    Layers are compared even if the logits agree: where biases dominate these, they tell little of
    the layers below.
    """
    tolerance = TOLERANCE if of_logits > TOLERANCE else HIDDEN_TOLERANCE
    found = _values_of_nodes(trace, set(read.neurons.values()))
    for name, activation in traced.activations.items():
        if (node := read.neurons.get(name)) is not None:
            difference = _difference(activation, found[node][: len(activation)])
            if difference > tolerance:
                return DisagreementError(name, difference)
    return None


def _values_of_nodes(trace: Trace, wanted: Collection[fx.Node]) -> Mapping[fx.Node, Tensor]:
    """Return what nodes computed on the traced samples, before later operations changed it."""
    if all(is_unchanged(node) for node in wanted):
        return {node: value_of(node) for node in wanted}
    values = _Values(fx.GraphModule(trace.root, trace.graph), wanted)
    with torch.no_grad():
        values.run(trace.inputs.clone())
    return values.found


class _Values(fx.Interpreter):
    """Runs a graph and copies some values before an operation in place can change them."""

    def __init__(self, module: fx.GraphModule, wanted: Collection[fx.Node]) -> None:
        super().__init__(module)
        self._wanted = wanted
        self.found: dict[fx.Node, Tensor] = {}

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        if n in self._wanted:
            self.found[n] = result.clone()
        return result


def _difference(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference, relative to the largest value; infinite without numbers."""
    theirs = theirs.detach().to(ours.dtype).reshape(ours.shape)
    largest = float(theirs.abs().max())
    difference = float((ours - theirs).abs().max())
    if math.isnan(difference) or math.isnan(largest):
        return math.inf
    return difference / largest if largest > 0 else difference
