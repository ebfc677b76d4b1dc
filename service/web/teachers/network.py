"""A network as a row of layers of neurons, with their shapes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ltl_core.network.layers import Conv2d, Weighted, size
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Branch, Stage
from service.formatting import amount, plural

_SHOWN = 120  # layers; the page of a network with 2,000 would be too large


class LayerBox(NamedTuple):
    """One layer of neurons, with the weights and pools that lead into it."""

    name: str
    what: str
    shape: str
    neurons: int
    weights: int
    rate: float | None = None  # spikes a neuron and step, of a student


class NetworkRow(NamedTuple):
    """The layers of a network from its input to its readout."""

    input_shape: str
    layers: tuple[LayerBox, ...]
    hidden: int  # how many layers are left out
    sentence: str


def network_row(network: Mapping[str, Any], rates: Sequence[float] = ()) -> NetworkRow:
    """Lay out a stored network; `rates` are the firing rates of its hidden layers.

    Raises ValidationError or CalibrationError for what is no network.
    """
    spec = NetworkSpec.model_validate(network)
    before: list[str | None] = [None, *(stage.name for stage in spec.stages)]
    boxes = [_box(stage, read) for stage, read in zip(spec.stages, before, strict=False)]
    for index, rate in enumerate(rates[: len(boxes) - 1]):
        boxes[index] = boxes[index]._replace(rate=rate)
    shown = boxes if len(boxes) <= _SHOWN else [*boxes[: _SHOWN - 1], boxes[-1]]
    return NetworkRow(
        input_shape=shape_text(spec.input_shape),
        layers=tuple(shown),
        hidden=len(boxes) - len(shown),
        sentence=(
            f"{plural(len(boxes), 'layer')} with {amount(sum(box.weights for box in boxes))} "
            f"weights, from {shape_text(spec.input_shape)} to {spec.classes} classes"
        ),
    )


def shape_text(shape: Sequence[int]) -> str:
    """Format a shape: `1×8×8`."""
    return "×".join(map(str, shape))


def _box(stage: Stage, before: str | None) -> LayerBox:
    branches = [_branch(branch, before) for branch in stage.branches]
    weights = sum(size(layer.weight_shape) for layer in stage.matrices)
    what = " + ".join(branches)
    return LayerBox(
        stage.name, what, shape_text(stage.output_shape), size(stage.output_shape), weights
    )


def _branch(branch: Branch, before: str | None) -> str:
    """Describe one input of a layer; its source is named where it is not the layer before."""
    words = [f"mean of {shape_text(pool.kernel)}" for pool in branch.pools]
    words.append("straight" if branch.layer is None else _weighted(branch.layer))
    text = ", ".join(words)
    return text if branch.source == before else f"{text} from {branch.source or 'the input'}"


def _weighted(layer: Weighted) -> str:
    if not isinstance(layer, Conv2d):
        return "linear"
    words = f"conv {shape_text(layer.kernel)}"
    if max(layer.stride) > 1:
        words += f" stride {layer.stride[0]}"
    return f"{words}, {layer.groups} groups" if layer.groups > 1 else words
