"""The specification of a network: named layers and what each reads, with shapes, as JSON."""

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import KINDS, VALUE_MAX, Extent, Layer, Shape, Weighted
from ltl_core.network.stages import Stage, stages_of

LAYERS_MAX = 2_000  # ResNet-1001 has about a thousand
CHANNELS_MAX = 2**16  # of an input that is scaled

Factor = Annotated[float, Field(ge=-VALUE_MAX, le=VALUE_MAX, allow_inf_nan=False)]


class InputAffine(BaseModel):
    """What the host makes of samples before the network: x' = scale x + shift, channel by channel.

    A module that normalizes its input in front of a padded convolution needs it: zeros around the
    normalized image are no zeros of the samples. A chip gets x', and so do its DAC and `probe`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    scale: tuple[Factor, ...] = Field(min_length=1, max_length=CHANNELS_MAX)
    shift: tuple[Factor, ...] = Field(min_length=1, max_length=CHANNELS_MAX)

    @model_validator(mode="after")
    def _it_can_be_inverted(self) -> "InputAffine":
        if len(self.scale) != len(self.shift):
            raise ValueError("scale and shift of the input must have one number a channel each")
        if 0 in self.scale:
            raise ValueError("the scale of the input must not be zero in any channel")
        return self


class NetworkSpec(BaseModel):
    """Layers that read each other without a circle; the readout is the one that no layer reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    input_shape: tuple[Extent, ...] = Field(min_length=1, max_length=3)
    layers: tuple[Layer, ...] = Field(min_length=1, max_length=LAYERS_MAX)
    # Left out of the file where there is none: an earlier release reads such a network too.
    input_affine: InputAffine | None = Field(default=None, exclude_if=lambda found: found is None)

    @model_validator(mode="before")
    @classmethod
    def _every_kind_is_known(cls, data: Any) -> Any:
        layers = data.get("layers", ()) if isinstance(data, Mapping) else ()
        if isinstance(layers, list | tuple) and len(layers) > LAYERS_MAX:
            raise NetworkError(  # before any of them is built
                f"The network has {len(layers)} layers, but at most {LAYERS_MAX} are supported."
            )
        for index, layer in enumerate(layers if isinstance(layers, list | tuple) else ()):
            kind = layer.get("kind") if isinstance(layer, Mapping) else None
            if isinstance(kind, str) and kind not in KINDS:
                raise UnsupportedLayerError(
                    str(layer.get("name", index)), kind, f"use one of {', '.join(KINDS)}"
                )
        return data

    @model_validator(mode="after")
    def _it_fits_together(self) -> "NetworkSpec":
        affine = self.input_affine
        if affine is not None and len(affine.scale) != self.input_shape[0]:
            raise NetworkError(
                f"The scale of the input has {len(affine.scale)} numbers, but the input has "
                f"{self.input_shape[0]} channels."
            )
        names = [layer.name for layer in self.layers]
        if twice := sorted(name for name, count in Counter(names).items() if count > 1):
            raise NetworkError(f"Layer names must be unique, but {', '.join(twice)} occurs twice.")
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
        """Names that each layer reads; `INPUT` is the input of the network."""
        before = (INPUT, *(layer.name for layer in self.layers))
        return {
            layer.name: layer.inputs or (previous,)
            for layer, previous in zip(self.layers, before, strict=False)
        }

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """Layers of neurons, each behind all that feed it; the readout is the last."""
        return stages_of(self.input_shape, self.layers, self.edges)

    @property
    def classes(self) -> int:
        """Number of outputs of the readout."""
        return self.stages[-1].columns

    @property
    def activation_shapes(self) -> dict[str, Shape]:
        """Shape of the activations of one sample, by the name of each hidden layer of neurons."""
        return {stage.name: stage.output_shape for stage in self.stages if not stage.is_readout}

    @property
    def matrices(self) -> tuple[Weighted, ...]:
        """Layers with weights, in the order of their stages."""
        return tuple(layer for stage in self.stages for layer in stage.matrices)

    @property
    def tensor_shapes(self) -> dict[str, Shape]:
        """Shape of every tensor of the network's weights, by name: LAYER.weight and LAYER.bias."""
        shapes: dict[str, Shape] = {}
        for layer in self.matrices:
            shapes[f"{layer.name}.weight"] = layer.weight_shape
            shapes[f"{layer.name}.bias"] = layer.weight_shape[:1]
        return shapes
