"""The check that ends every import: network and module are run on the same random inputs."""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, fx, nn

from ltl_core.errors import NetworkError
from ltl_core.interop.reading import ReadNetwork
from ltl_core.interop.tracing import Trace, value_of
from ltl_core.teaching.teacher import TeacherOutput, run_teacher

TOLERANCE = 1e-5  # largest difference of a logit, relative to the largest logit
# Of a hidden layer: sums that nearly cancel lose more in float32 than what they add up to.
HIDDEN_TOLERANCE = 1e-4
_SAMPLES = 4


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
    normal = torch.randn(_SAMPLES // 2, *shape, generator=rng, dtype=dtype)
    inputs = torch.cat((normal, torch.rand(_SAMPLES // 2, *shape, generator=rng, dtype=dtype)))
    ours = _run(read, inputs).logits
    with torch.no_grad():
        found = _only_tensor(module(inputs.clone()))
    differences = [_difference(read.score(ours) if read.score else ours, found)]
    if read.score:
        # Behind a softmax a common shift of the logits is not seen.
        logits = _run(read, trace.inputs).logits
        differences.append(_difference(logits, value_of(read.logits)))
    if error := _hidden_difference(trace, read, max(differences)):
        raise error
    if (largest := max(differences)) > TOLERANCE:
        raise DisagreementError(read.network.stages[-1].name, largest)


def _only_tensor(result: Any) -> Tensor:
    """Return the tensor that a module returned, alone or in a tuple, list or dict."""
    while isinstance(result, dict | tuple | list):
        (result,) = result.values() if isinstance(result, dict) else result
    return torch.as_tensor(result)


def _run(read: ReadNetwork, inputs: Tensor) -> TeacherOutput:
    weights = {name: values.to(inputs.dtype) for name, values in read.weights.items()}
    samples = inputs.reshape(len(inputs), *read.network.input_shape)
    with torch.no_grad():
        return run_teacher(read.network, weights, samples)


def _hidden_difference(
    trace: Trace, read: ReadNetwork, of_logits: float
) -> DisagreementError | None:
    """Return the error for the first layer of neurons that differs on the traced sample.

    Layers are compared even if the logits agree: where biases dominate these, they tell little of
    the layers below.
    """
    tolerance = TOLERANCE if of_logits > TOLERANCE else HIDDEN_TOLERANCE
    values = _Values(fx.GraphModule(trace.root, trace.graph), set(read.neurons.values()))
    with torch.no_grad():
        values.run(trace.inputs.clone())
    for name, activation in _run(read, trace.inputs).activations.items():
        if (node := read.neurons.get(name)) is not None:
            difference = _difference(activation, values.found[node])
            if difference > tolerance:
                return DisagreementError(name, difference)
    return None


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
