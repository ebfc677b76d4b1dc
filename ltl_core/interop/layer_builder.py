"""Layers of a network made from signals: neurons, the weights in front of them, and the readout."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.interop.branches import Part, folded, parts_of, stage_shape
from ltl_core.interop.conv_layers import conv_layer
from ltl_core.interop.float32 import check_float32
from ltl_core.interop.folding import identity, output_shape
from ltl_core.interop.linear_maps import Average, Kernel, Matrix, View, one_per_channel
from ltl_core.interop.names import LayerNames
from ltl_core.interop.signals import Activated, Signal, Term
from ltl_core.interop.tracing import Place
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import Add, AvgPool2d, GlobalAvgPool, Layer, Linear, Shape, size
from ltl_core.network.spec import InputAffine, NetworkSpec

_LARGEST_SUM = 16  # inputs of an addition in a NetworkSpec


class _PoolKey(NamedTuple):
    source: str
    path: str
    window: tuple[int, int]
    stride: tuple[int, int]


class LayerBuilder:
    """Collects the layers of a network; a signal becomes layers when an activation is read."""

    def __init__(self, input_shape: Shape) -> None:
        self._layers: dict[str, Layer] = {}
        self.weights: dict[str, Tensor] = {}
        self.notes: list[str] = []
        self._input_shape = input_shape
        self._viewed_as: set[Shape] = set()
        self._shapes: dict[str, Shape] = {INPUT: input_shape}
        self._names = LayerNames()
        self._pools: dict[_PoolKey, str] = {}
        self._uses: dict[str, list[str]] = {}  # layers by the path of the module in them

    def neurons(self, activated: Activated) -> Signal:
        """Make a layer of neurons and return what it puts out. Raises UnsupportedLayerError."""
        signal, path = folded(activated.signal, self._shapes), activated.path
        shape = stage_shape(signal, self._shapes, Place(path, "activation", ""))
        parts = parts_of(signal, self._shapes, shape, path)
        bias = _bias(signal, shape, path)
        if bias is not None or len(parts) == 1 or all(part.link is None for part in parts):
            parts = _weighted_first(parts, shape)
        ceiling = activated.ceiling
        if len(parts) == 1:
            name = self._weighted(parts[0], bias, path, {"ceiling": ceiling})
        else:
            inputs = [
                self._branch(part, bias if i == 0 else None, path) for i, part in enumerate(parts)
            ]
            if len(inputs) > _LARGEST_SUM:
                raise UnsupportedLayerError(
                    path,
                    "add",
                    f"it needs a sum of {len(inputs)} branches, but neurons add up to "
                    f"{_LARGEST_SUM}; concatenate fewer values in front of it",
                )
            name = self._names.take(signal.name or path)
            self._layers[name] = Add(name=name, inputs=tuple(inputs), ceiling=ceiling)
        self._shapes[name] = shape
        back = () if shape == signal.shape else (View(shape, signal.shape),)
        return Signal((Term(name, back),), None, signal.shape)

    def is_one_layer(self, signal: Signal) -> bool:
        """Return whether neurons behind a signal need one matrix only, and no addition."""
        try:
            signal = folded(signal, self._shapes)
            shape = stage_shape(signal, self._shapes, Place("", "", ""))
            return len(parts_of(signal, self._shapes, shape, "")) == 1
        except UnsupportedLayerError:
            return False

    def readout(self, signal: Signal, place: Place) -> None:
        """Make the readout. Raises UnsupportedLayerError or NetworkError."""
        flat = (size(signal.shape),)
        if max(signal.shape, default=1) != flat[0]:
            raise NetworkError(
                f"The readout '{place.path}' has shape {signal.shape}; end the module with one "
                "output a class, as a Linear or a mean over all positions gives."
            )
        signal = signal if signal.shape == flat else signal.mapped(View(signal.shape, flat))
        parts = parts_of(folded(signal, self._shapes), self._shapes, flat, place.path)
        if len(parts) != 1:
            raise NetworkError(
                f"The readout '{signal.name or place.path}' is a sum of {len(parts)} layers, but "
                "a network ends in one matrix: concatenate what they read, or put neurons behind "
                "the sum and a Linear behind these."
            )
        (part,) = _weighted_first(parts, flat)
        self._weighted(part, signal.constant, place.path, {})

    def finish(self, affine: InputAffine | None) -> NetworkSpec:
        """Return the network. Raises NetworkError."""
        layers, before = [], INPUT
        for layer in self._layers.values():
            # A layer of a chain reads the one before it, so its inputs are left out.
            chained = layer.inputs == (before,)
            layers.append(layer.model_copy(update={"inputs": ()}) if chained else layer)
            before = layer.name
        self.notes += self._names.notes
        self._note_duplicates()
        return NetworkSpec(
            input_shape=self._read_shape(), layers=tuple(layers), input_affine=affine
        )

    def _read_shape(self) -> Shape:
        """Return the shape in which the layers read the input."""
        if not self._viewed_as:
            return self._input_shape
        if len(self._viewed_as) > 1:
            raise NetworkError(
                f"The input is read in the shapes {sorted(self._viewed_as)}, but a network reads "
                "it in one: give all layers the same view of it."
            )
        (shape,) = self._viewed_as
        if shape != self._input_shape:
            self.notes.append(
                f"The network reads its input in the shape {shape}: reshape samples of "
                f"{self._input_shape} to it."
            )
        return shape

    def _note_duplicates(self) -> None:
        for path, names in self._uses.items():
            if len(names) > 1:
                self.notes.append(
                    f"The weights of '{path}' are in {len(names)} layers, {', '.join(names)}, and "
                    "will be on the chip as often."
                )

    def _branch(self, part: Part, bias: Tensor | None, path: str) -> str:
        """Return the layer that brings one branch into an addition."""
        if part.link is None:
            return self._pooled(part)
        return self._weighted(part, bias, path, {"fires": False})

    def _weighted(self, part: Part, bias: Tensor | None, path: str, more: dict[str, object]) -> str:
        """Add a layer with weights behind the pools of its branch, and return its name."""
        link = part.link
        if link is None:
            raise ValueError(f"Branch of '{path}' has no weights.")
        source = self._pooled(part)
        name = self._names.take(link.paths[-1] if link.paths else path)
        if isinstance(link, Kernel):
            made = conv_layer(name, link, output_shape(part.shape, part.pools))
            layer: Layer = made.layer
            weight = made.weight
        else:
            layer = Linear(
                name=name, in_features=link.weight.shape[1], out_features=len(link.weight)
            )
            weight = link.weight
        self._layers[name] = layer.model_copy(update={"inputs": (source,), **more})
        zeros = torch.zeros(len(weight), dtype=weight.dtype)
        self._keep(name, "weight", weight)
        self._keep(name, "bias", zeros if bias is None else bias)
        self._note_paths(name, link)
        return name

    def _note_paths(self, name: str, link: Kernel | Matrix) -> None:
        paths = dict.fromkeys(link.paths)
        for path in paths:
            self._uses.setdefault(path, []).append(name)
        if len(paths) > 1:
            self.notes.append(f"Layer '{name}' is {', '.join(paths)} in one, which is exact.")

    def _keep(self, name: str, field: str, values: Tensor) -> None:
        """Keep a tensor as float32. Raises NonFiniteError if one of its values is too large."""
        check_float32(f"{name}.{field}", values)
        self.weights[f"{name}.{field}"] = values.detach().to(torch.float32, copy=True)

    def _pooled(self, part: Part) -> str:
        """Return the layer that ends the pools of a branch; equal pools become one layer."""
        if part.source == INPUT and (part.pools or isinstance(part.link, Kernel)):
            self._viewed_as.add(part.shape)
        source = part.source
        for pool in part.pools:
            key = _PoolKey(source, pool.path, pool.window, pool.stride)
            if key not in self._pools:
                self._pools[key] = self._add_pool(pool, source)
            source = self._pools[key]
        return source

    def _add_pool(self, pool: Average, source: str) -> str:
        name = self._names.take(pool.path)
        inputs = (source,)
        self._layers[name] = (
            GlobalAvgPool(name=name, inputs=inputs)
            if pool.whole
            else AvgPool2d(name=name, inputs=inputs, kernel=pool.window, stride=pool.stride)
        )
        return name


def _weighted_first(parts: Sequence[Part], shape: Shape) -> list[Part]:
    """Return branches of which the first has weights: if none has any, those of the identity."""
    weighted = [part for part in parts if part.link is not None]
    straight = [part for part in parts if part.link is None]
    if not weighted:
        first, *straight = straight
        weighted = [first._replace(link=identity(shape))]
    return [*weighted, *straight]


def _bias(signal: Signal, shape: Shape, path: str) -> Tensor | None:
    """Return the constant of a signal as a bias, one a channel. Raises UnevenError."""
    if signal.constant is None or len(shape) == 1:
        return None if signal.constant is None else signal.constant.reshape(shape)
    bias = one_per_channel(signal.constant.reshape(shape), tolerance=1e-9)
    if bias is None:
        raise UnevenError(path, signal)
    return bias


class UnevenError(UnsupportedLayerError):
    """A constant differs between positions, since it went through a convolution with padding."""

    def __init__(self, path: str, signal: Signal) -> None:
        super().__init__(
            path,
            "bias",
            "a norm or a constant in front of a convolution that pads with zeros gives each "
            "position another bias, but a channel has one; put the norm in front of the "
            "activation, or use padding=0 behind it",
        )
        self.signal = signal
