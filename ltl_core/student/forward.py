"""Forward passes of a student in codes: packed in bytes layer by layer, or as plain traces."""

from collections.abc import Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.network.layers import Conv2d
from ltl_core.network.stages import Stage
from ltl_core.spiking.byte_products import LARGEST, has_byte_products, pack_bytes
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.linear import BranchWeights, ByteWeights, PackedWeights, as_matrix
from ltl_core.student.layerwise import (
    LayerwiseResult,
    PackedNetwork,
    Supervision,
    layerwise_forward_packed,
)
from ltl_core.student.student import Student


def layerwise_forward_student(
    student: Student,
    inputs: Float[Tensor, "batch *shape"],
    supervision: Supervision | None = None,
    *,
    in_bytes: bool = True,
) -> LayerwiseResult:
    """Run `layerwise_forward` in codes: every sum of codes over spikes is an integer, and exact.

    So the products run in bytes if the processor has such a product, and whether they do changes
    no bit of the result. Raises LayerShapeError if the inputs are neither images nor sequences of
    as many frames as there are steps.
    """
    packed = pack_student(student, in_bytes=in_bytes)
    return layerwise_forward_packed(student.network, packed, inputs, student.neuron, supervision)


def pack_student(student: Student, *, in_bytes: bool = True) -> PackedNetwork:
    """Return the student's codes packed for `layerwise_forward_packed`, in bytes if possible."""
    return {
        stage.name: tuple(_packed_codes(student, stage, in_bytes))
        for stage in student.network.stages
    }


def student_traces(student: Student, inputs: Float[Tensor, "batch *shape"]) -> list[LayerTrace]:
    """Return the traces of all layers at once, for small batches; `layer_traces` saves memory.

    Raises LayerShapeError.
    """
    return list(layer_traces(student.network, student.weights(), inputs, student.neuron))


def _packed_codes(student: Student, stage: Stage, in_bytes: bool) -> Iterator[PackedWeights]:
    gains = iter(student.gains.get(stage.name, ()))
    for branch in stage.branches:
        if (layer := branch.layer) is None:
            yield BranchWeights(torch.tensor(next(gains)), None)
            continue
        codes = student.code_sums(layer.name).view(layer.weight_shape)
        whole = layer.name not in student.side
        spiking = branch.source is not None and not branch.pools
        grouped = isinstance(layer, Conv2d) and layer.groups != 1
        small = student.format.weight_max <= LARGEST
        scale, bias = student.lsb[layer.name], student.bias(layer.name)
        if grouped:
            yield BranchWeights(scale * as_matrix(layer, codes), bias)
        elif in_bytes and whole and spiking and small and has_byte_products(codes.device):
            yield ByteWeights(layer, pack_bytes(layer, codes.to(torch.int8)), bias, scale)
        else:
            yield BranchWeights(as_matrix(layer, codes), bias, scale)
