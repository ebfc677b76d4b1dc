"""What a network is: a chain of named layers with shapes, read from and written to JSON."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

from ltl_core.errors import LayerShapeError, NetworkError, UnsupportedLayerError

Shape = tuple[int, ...]
Pair = tuple[PositiveInt, PositiveInt]
Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")
]


class _Layer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name


class Conv2d(_Layer):
    """A convolution; hidden ones are followed by a ReLU clipped at `ceiling`."""

    kind: Literal["conv2d"] = "conv2d"
    in_channels: PositiveInt
    out_channels: PositiveInt
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = (0, 0)
    groups: PositiveInt = 1
    ceiling: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

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


class Linear(_Layer):
    """A matrix; its input is flattened. Hidden ones are followed by a ReLU clipped at `ceiling`."""

    kind: Literal["linear"] = "linear"
    in_features: PositiveInt
    out_features: PositiveInt
    ceiling: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None

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


Weighted = Conv2d | Linear
Layer = Annotated[Conv2d | Linear | AvgPool2d, Field(discriminator="kind")]
KINDS = ("conv2d", "linear", "avg_pool2d")


class Stage(BaseModel):
    """One layer of neurons: the pooling in front of it, its weights, and the shapes around them."""

    model_config = ConfigDict(frozen=True)

    layer: Weighted
    pools: tuple[AvgPool2d, ...]
    source: str | None  # the stage that feeds it; None is the network's input
    source_shape: Shape  # what arrives, before pooling
    input_shape: Shape  # after pooling
    output_shape: Shape
    is_readout: bool

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def columns(self) -> int:
        return self.layer.weight_shape[0]

    @property
    def rows(self) -> int:
        return size(self.layer.weight_shape[1:])


class NetworkSpec(BaseModel):
    """A chain of layers. Every weighted layer but the last one fires; the last is the readout."""

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
    def _chain_fits(self) -> "NetworkSpec":
        names = [layer.name for layer in self.layers]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise NetworkError(f"Layer names must be unique, but {', '.join(twice)} stands twice.")
        if isinstance(self.layers[-1], AvgPool2d):
            raise NetworkError(
                "The last layer is the readout and must be a conv2d or linear layer."
            )
        shape: Shape = self.input_shape
        for layer in self.layers:
            shape = layer.output_shape(shape)
        if len(shape) != 1:
            raise NetworkError(
                f"The readout '{names[-1]}' has shape {'x'.join(map(str, shape))}: "
                "end the network with a linear layer, one output a class."
            )
        return self

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The layers that hold weights, in order, each with the pooling that stands before it."""
        stages: list[Stage] = []
        pools: list[AvgPool2d] = []
        source: str | None = None
        source_shape = shape = self.input_shape
        for layer in self.layers:
            after = layer.output_shape(shape)
            if isinstance(layer, AvgPool2d):
                pools.append(layer)
            else:
                stages.append(
                    Stage(
                        layer=layer,
                        pools=tuple(pools),
                        source=source,
                        source_shape=source_shape,
                        input_shape=shape,
                        output_shape=after,
                        is_readout=layer is self.layers[-1],
                    )
                )
                pools, source, source_shape = [], layer.name, after
            shape = after
        return tuple(stages)

    @property
    def classes(self) -> int:
        return self.stages[-1].columns

    @property
    def tensor_shapes(self) -> dict[str, Shape]:
        """Name and shape of every tensor that the network's weights consist of."""
        shapes: dict[str, Shape] = {}
        for stage in self.stages:
            shapes[f"{stage.name}.weight"] = stage.layer.weight_shape
            shapes[f"{stage.name}.bias"] = (stage.columns,)
        return shapes


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
