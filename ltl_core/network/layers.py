"""The kinds of layers, with the shapes of their weights and outputs; shapes are without batch."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ltl_core.errors import LayerShapeError

EXTENT_MAX = 2**31 - 1  # of anything that is counted
VALUE_MAX = 1e30  # of a ceiling or a scale; its products are finite in single precision
Extent = Annotated[int, Field(gt=0, le=EXTENT_MAX)]
Margin = Annotated[int, Field(ge=0, le=EXTENT_MAX)]
Shape = tuple[int, ...]
Pair = tuple[Extent, Extent]
Name = Annotated[
    str, Field(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")
]


class _Layer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    inputs: tuple[Name, ...] = Field(default=(), max_length=16)  # empty: the layer before


class _Neurons(_Layer):
    """A layer that ends in a ReLU clipped at `ceiling`; in a student, in neurons that fire."""

    ceiling: Annotated[float, Field(gt=0, le=VALUE_MAX, allow_inf_nan=False)] | None = None


class _Matrix(_Neurons):
    """A layer with weights. If it does not fire, its column sums go straight into an addition."""

    fires: bool = True


class Conv2d(_Matrix):
    """A two-dimensional convolution, padded with zeros."""

    kind: Literal["conv2d"] = "conv2d"
    in_channels: Extent
    out_channels: Extent
    kernel: Pair
    stride: Pair = (1, 1)
    padding: tuple[Margin, Margin] = (0, 0)
    groups: Extent = 1

    @model_validator(mode="after")
    def _groups_divide_channels(self) -> "Conv2d":
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{self.groups} groups do not divide the channels of '{self.name}'")
        return self

    @property
    def weight_shape(self) -> Shape:
        """Shape of the weights: output channels, input channels a group, kernel rows, columns."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`. Raises LayerShapeError."""
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise LayerShapeError(self.name, (self.in_channels, "H", "W"), shape)
        return (
            self.out_channels,
            *_slide(self.name, shape, self.kernel, self.stride, self.padding),
        )


class Linear(_Matrix):
    """A matrix product; the input is flattened."""

    kind: Literal["linear"] = "linear"
    in_features: Extent
    out_features: Extent

    @property
    def weight_shape(self) -> Shape:
        """Shape of the weights: outputs, inputs."""
        return (self.out_features, self.in_features)

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`. Raises LayerShapeError."""
        if size(shape) != self.in_features:
            raise LayerShapeError(self.name, (self.in_features,), shape)
        return (self.out_features,)


class AvgPool2d(_Layer):
    """Average over windows, without neurons: the next layer's rows are driven by the mean."""

    kind: Literal["avg_pool2d"] = "avg_pool2d"
    kernel: Pair
    stride: Pair

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`. Raises LayerShapeError."""
        if len(shape) != 3:
            raise LayerShapeError(self.name, ("C", "H", "W"), shape)
        return (shape[0], *_slide(self.name, shape, self.kernel, self.stride, (0, 0)))


class GlobalAvgPool(_Layer):
    """Average over all positions of a channel, without neurons."""

    kind: Literal["global_avg_pool"] = "global_avg_pool"

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape of the output for an input of `shape`. Raises LayerShapeError."""
        if len(shape) != 3:
            raise LayerShapeError(self.name, ("C", "H", "W"), shape)
        return (shape[0], 1, 1)

    def as_window(self, shape: Shape) -> AvgPool2d:
        """Return the same average as a pool with one window over all positions of `shape`."""
        return AvgPool2d(name=self.name, kernel=shape[1:], stride=shape[1:])


class Add(_Neurons):
    """A residual addition: neurons that integrate the currents of several branches.

    A branch is a matrix that does not fire, or the output of neurons, which goes straight in.
    """

    kind: Literal["add"] = "add"

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`: an addition changes no shape."""
        return shape


Weighted = Conv2d | Linear
Pool = AvgPool2d | GlobalAvgPool
Layer = Annotated[Conv2d | Linear | AvgPool2d | GlobalAvgPool | Add, Field(discriminator="kind")]
KINDS = ("conv2d", "linear", "avg_pool2d", "global_avg_pool", "add")


def size(shape: Shape) -> int:
    """Return the number of elements of a tensor of this shape."""
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
