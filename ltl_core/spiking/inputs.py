"""The samples of a lab as a network reads them: scaled and shifted by the host, if need be."""

from jaxtyping import Float
from torch import Tensor

from ltl_core.errors import LayerShapeError
from ltl_core.network.spec import NetworkSpec


def are_sequences(network: NetworkSpec, inputs: Float[Tensor, "batch *shape"]) -> bool:
    """Tell whether each sample is a sequence of frames, not one still input."""
    return inputs.dim() == len(network.input_shape) + 2


def scaled_inputs(
    network: NetworkSpec, inputs: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch *shape"]:
    """Return what the network's first layers, or a chip's DAC, get for these samples."""
    if network.input_affine is None:
        return inputs
    scale, shift = _by_channel(network, inputs)
    return inputs * scale + shift


def as_frames(
    network: NetworkSpec, inputs: Float[Tensor, "batch *shape"], steps: int
) -> Float[Tensor, "time batch *input"]:
    """Return one frame, the input of all steps, or a frame a step. Raises LayerShapeError."""
    shape = network.input_shape
    if tuple(inputs.shape[1:]) == shape:
        return scaled_inputs(network, inputs).unsqueeze(0)
    if tuple(inputs.shape[1:]) != (steps, *shape):
        raise LayerShapeError("input", shape, tuple(inputs.shape[1:]), "samples")
    return scaled_inputs(network, inputs).transpose(0, 1)


def unscaled_inputs(
    network: NetworkSpec, values: Float[Tensor, "batch *shape"]
) -> Float[Tensor, "batch *shape"]:
    """Return the samples for which the network's first layers get these values."""
    if network.input_affine is None:
        return values
    scale, shift = _by_channel(network, values)
    return (values - shift) / scale


def _by_channel(network: NetworkSpec, values: Tensor) -> tuple[Tensor, Tensor]:
    affine, dims = network.input_affine, len(network.input_shape)
    if affine is None:
        raise ValueError("The network has no scale of its input.")
    shape = (-1, *[1] * (dims - 1))
    return values.new_tensor(affine.scale).view(shape), values.new_tensor(affine.shift).view(shape)
