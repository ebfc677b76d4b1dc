"""What a network is: named layers and what each reads, with shapes; to and from JSON."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from ltl_core.errors import LayerShapeError, NetworkError, UnsupportedLayerError
from ltl_core.graph import INPUT, only_output, readers, sorted_names

Shape = tuple[int, ...]
Pair = tuple[PositiveInt, PositiveInt]
Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")
]


class _Layer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    inputs: tuple[Name, ...] = Field(default=(), max_length=16)  # empty: the layer before


class _Neurons(_Layer):
    """A ReLU clipped at `ceiling`; in a student, neurons that fire."""

    ceiling: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class _Matrix(_Neurons):
    """Weights. Where it does not fire, its column sums go straight into an addition."""

    fires: bool = True


class Conv2d(_Matrix):
    """A convolution."""

    kind: Literal["conv2d"] = "conv2d"
    in_channels: PositiveInt
    out_channels: PositiveInt
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    groups: PositiveInt = 1

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> "Conv2d":
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide the channels of '{self.name}'")
        return self

    @property
    def weight_shape(self) -> Shape:
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LayerShapeError(self.name, (self.in_channels, "H", "W"), shape)
        return (
            self.out_channels,
            *_slide(self.name, shape, self.kernel, self.stride, self.padding),
        )


class Linear(_Matrix):
    """A matrix; its input is flattened."""

    kind: Literal["linear"] = "linear"
    in_features: PositiveInt
    out_features: PositiveInt

    @property
    def weight_shape(self) -> Shape:
        return (self.out_features, self.in_features)

    def output_shape(self, shape: Shape) -> Shape:
        if size(shape) != self.in_features:
            raise LayerShapeError(self.name, (self.in_features,), shape)
        return (self.out_features,)


class AvgPool2d(_Layer):
    """Average over windows, without neurons: the next layer's rows are driven by the mean."""

    kind: Literal["avg_pool2d"] = "avg_pool2d"
    kernel: Pair
    stride: Pair

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise LayerShapeError(self.name, ("C", "H", "W"), shape)
        return (shape[0], *_slide(self.name, shape, self.kernel, self.stride, (0, 0)))


class GlobalAvgPool(_Layer):
    """Average over all positions of a channel, without neurons."""

    kind: Literal["global_avg_pool"] = "global_avg_pool"

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise LayerShapeError(self.name, ("C", "H", "W"), shape)
        return (shape[0], 1, 1)

    def over(self, shape: Shape) -> AvgPool2d:
        """The same as one window over the whole of `shape`."""
        return AvgPool2d(name=self.name, kernel=shape[1:], stride=shape[1:])


class Add(_Neurons):
    """A residual addition: neurons that integrate the currents of several branches.

    A branch is a matrix that does not fire, or the output of neurons, which goes straight in.
    """

    kind: Literal["add"] = "add"

    def output_shape(self, shape: Shape) -> Shape:
        return shape


Weighted = Conv2d | Linear
Pool = AvgPool2d | GlobalAvgPool
Layer = Annotated[Conv2d | Linear | AvgPool2d | GlobalAvgPool | Add, Field(discriminator="kind")]
KINDS = ("conv2d", "linear", "avg_pool2d", "global_avg_pool", "add")


class Branch(BaseModel):
    """One way into a layer of neurons: its source, pooled, through weights or straight."""

    model_config = ConfigDict(frozen=True)

    layer: Weighted | None  # None: straight
    pools: tuple[AvgPool2d, ...]
    source: str | None  # the stage that feeds it; None is the network's input
    source_shape: Shape  # what arrives, before pooling
    input_shape: Shape  # after pooling


class Stage(BaseModel):
    """One layer of neurons, all that leads into it, and the shapes around them.

    `layer`, `pools`, `source` and the shapes of what arrives are those of the first branch, which
    has weights; in a chain it is the only one.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    branches: tuple[Branch, ...] = Field(min_length=1)
    ceiling: float | None
    output_shape: Shape
    is_readout: bool

    @property
    def matrices(self) -> tuple[Weighted, ...]:
        """The layers with weights among its branches."""
        return tuple(branch.layer for branch in self.branches if branch.layer is not None)

    @property
    def layer(self) -> Weighted:
        return self.matrices[0]

    @property
    def pools(self) -> tuple[AvgPool2d, ...]:
        return self.branches[0].pools

    @property
    def source(self) -> str | None:
        return self.branches[0].source

    @property
    def source_shape(self) -> Shape:
        return self.branches[0].source_shape

    @property
    def input_shape(self) -> Shape:
        return self.branches[0].input_shape

    @property
    def columns(self) -> int:
        return self.layer.weight_shape[0]

    @property
    def rows(self) -> int:
        return size(self.layer.weight_shape[1:])


class NetworkSpec(BaseModel):
    """Layers that read each other without a circle; the one that nothing reads is the readout."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_shape: tuple[PositiveInt, ...] = Field(min_length=1, max_length=3)
    layers: tuple[Layer, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _every_kind_is_known(cls, data: Any) -> Any:
        layers = data.get("layers", ()) if isinstance(data, Mapping) else ()
        for index, layer in enumerate(layers if isinstance(layers, list | tuple) else ()):
            kind = layer.get("kind") if isinstance(layer, Mapping) else None
            if isinstance(kind, str) and kind not in KINDS:
                raise UnsupportedLayerError(
                    str(layer.get("name", index)), kind, f"use one of {', '.join(KINDS)}"
                )
        return data

    @model_validator(mode="after")
    def _it_fits_together(self) -> "NetworkSpec":
        names = [layer.name for layer in self.layers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise NetworkError(f"Layer names must be unique, but {', '.join(twice)} stands twice.")
        if INPUT in names:
            raise NetworkError(f"No layer may be called '{INPUT}': it names the network's input.")
        readout = self.stages[-1]
        if len(readout.output_shape) != 1:
            raise NetworkError(
                f"The readout '{readout.name}' has shape {'x'.join(map(str, readout.output_shape))}"
                ": end the network with a linear layer, one output a class."
            )
        return self

    @property
    def edges(self) -> dict[str, tuple[str, ...]]:
        """What each layer reads."""
        before = (INPUT, *(layer.name for layer in self.layers))
        return {
            layer.name: layer.inputs or (previous,)
            for layer, previous in zip(self.layers, before, strict=False)
        }

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The layers of neurons, each behind all that feed it; the readout is the last."""
        return _Stages(self).all()

    @property
    def classes(self) -> int:
        return self.stages[-1].columns

    @property
    def matrices(self) -> tuple[Weighted, ...]:
        """All layers with weights, in the order of their stages."""
        return tuple(layer for stage in self.stages for layer in stage.matrices)

    @property
    def tensor_shapes(self) -> dict[str, Shape]:
        """Name and shape of every tensor that the network's weights consist of."""
        shapes: dict[str, Shape] = {}
        for layer in self.matrices:
            shapes[f"{layer.name}.weight"] = layer.weight_shape
            shapes[f"{layer.name}.bias"] = layer.weight_shape[:1]
        return shapes


class _Stages:
    """Walks the layers from the input to the readout."""

    def __init__(self, network: NetworkSpec) -> None:
        self._edges = network.edges
        self._layers = {layer.name: layer for layer in network.layers}
        self._order = sorted_names(self._edges)
        self._readout = only_output(self._edges)
        # What each layer hands on: a branch that leads on from here, or through its own weights.
        shape = network.input_shape
        self._ways = {
            INPUT: Branch(layer=None, pools=(), source=None, source_shape=shape, input_shape=shape)
        }

    def all(self) -> tuple[Stage, ...]:
        stages = [
            stage for name in self._order if (stage := self._take(self._layers[name])) is not None
        ]
        if stages and isinstance(self._layers[self._readout], Conv2d | Linear):
            return tuple(stages)
        raise NetworkError("The last layer is the readout and must be a conv2d or linear layer.")

    def _take(self, layer: Layer) -> Stage | None:
        if isinstance(layer, Add):
            return self._add(layer)
        way = self._one_way(layer)
        shape = layer.output_shape(way.input_shape)
        if isinstance(layer, AvgPool2d | GlobalAvgPool):
            pool = layer.over(way.input_shape) if isinstance(layer, GlobalAvgPool) else layer
            pooled = {"pools": (*way.pools, pool), "input_shape": shape}
            self._ways[layer.name] = way.model_copy(update=pooled)
            return None
        branch = way.model_copy(update={"layer": layer})
        if not layer.fires and layer.name != self._readout:
            self._check_added(layer)
            self._ways[layer.name] = branch
            return None
        return self._stage(layer, (branch,), shape)

    def _add(self, layer: Add) -> Stage:
        ways = [self._ways[name] for name in self._edges[layer.name]]
        branches = tuple(sorted(ways, key=lambda way: way.layer is None))
        if len(branches) < 2 or branches[0].layer is None:
            raise NetworkError(
                f"The addition '{layer.name}' needs at least two inputs, and at least one of them "
                "must be a layer with weights that does not fire."
            )
        shapes = [_reached(branch) for branch in branches]
        if other := next((shape for shape in shapes if shape != shapes[0]), None):
            raise LayerShapeError(layer.name, shapes[0], other)
        return self._stage(layer, branches, shapes[0])

    def _stage(self, layer: Weighted | Add, branches: tuple[Branch, ...], shape: Shape) -> Stage:
        self._ways[layer.name] = Branch(
            layer=None, pools=(), source=layer.name, source_shape=shape, input_shape=shape
        )
        return Stage(
            name=layer.name,
            branches=branches,
            ceiling=layer.ceiling,
            output_shape=shape,
            is_readout=layer.name == self._readout,
        )

    def _one_way(self, layer: Layer) -> Branch:
        sources = self._edges[layer.name]
        if len(sources) != 1:
            raise NetworkError(
                f"Layer '{layer.name}' reads {', '.join(sources)}, but only an addition takes "
                "several inputs: put a layer of kind 'add' between them."
            )
        way = self._ways[sources[0]]
        if way.layer is not None:
            raise NetworkError(
                f"Layer '{layer.name}' reads '{sources[0]}', which does not fire: only an addition "
                "can take its column sums."
            )
        return way

    def _check_added(self, layer: Weighted) -> None:
        reading = [self._layers[name] for name in readers(self._edges, layer.name)]
        if len(reading) != 1 or not isinstance(reading[0], Add):
            raise NetworkError(
                f"Layer '{layer.name}' does not fire, so exactly one addition must read it."
            )


def _reached(branch: Branch) -> Shape:
    shape = branch.input_shape
    return shape if branch.layer is None else branch.layer.output_shape(shape)


def size(shape: Shape) -> int:
    """Number of elements."""
    product = 1
    for extent in shape:
        product *= extent
    return product


def _slide(name: str, shape: Shape, kernel: Pair, stride: Pair, padding: tuple[int, int]) -> Shape:
    extents = tuple(
        (length + 2 * pad - window) // step + 1
        for length, window, step, pad in zip(shape[1:], kernel, stride, padding, strict=True)
    )
    if min(extents) < 1:
        raise LayerShapeError(name, ("C", f">={kernel[0]}", f">={kernel[1]}"), shape)
    return extents
