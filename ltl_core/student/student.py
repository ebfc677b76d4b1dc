"""The student: a spiking network in integer codes, and its ideal behaviour over time."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import LayerCodes, LayerSettings, Placement
from ltl_core.errors import CorruptTensorsError
from ltl_core.network.layers import Conv2d
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.packing import pack, unpack
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.byte_products import LARGEST, has_byte_products, pack_bytes
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.linear import (
    BranchWeights,
    ByteWeights,
    PackedWeights,
    as_matrix,
)
from ltl_core.student.codes import CodeFormat
from ltl_core.student.layerwise import LayerwiseResult, Supervision, layerwise_forward_packed


class Student(NamedTuple):
    """Codes, and what one code means.

    A weight is `code * lsb`; a bias is `code * trim_lsb * threshold` in the same units, where the
    readout, which has no threshold, uses its full scale instead.
    """

    network: NetworkSpec
    neuron: NeuronSettings
    format: CodeFormat
    codes: Mapping[str, LayerCodes]
    lsb: Mapping[str, float]
    full_scale: Mapping[str, float]  # of the column sums, code units
    input_full_scale: float
    gains: Mapping[str, Sequence[float]] = {}  # of straight branches, in units of the weights

    def threshold(self, layer: str) -> float:
        """In code units of a matrix; of the readout, the unit of its bias trims."""
        if layer == self.network.stages[-1].name:
            return self.full_scale[layer]
        return self.neuron.threshold / self.lsb[layer]

    def bias_lsb(self, layer: str) -> float:
        """One bias trim code, in code units."""
        return self.format.trim_lsb * self.threshold(layer)

    def bias(self, layer: str) -> Float[Tensor, " column"]:
        """What is added to the column sums of a matrix at every step."""
        return self.lsb[layer] * self.bias_lsb(layer) * self.codes[layer].bias.float()

    def placement(self) -> Placement:
        """How a chip is to be set up for this student."""
        layers = {
            layer.name: LayerSettings(
                threshold=self.threshold(layer.name),
                decay=self.neuron.decay,
                window=self.neuron.surrogate_width / self.lsb[layer.name],
                full_scale=self.full_scale[layer.name],
            )
            for layer in self.network.matrices
        }
        return Placement(self.network, layers, self.input_full_scale)

    def weights(self) -> dict[str, Tensor]:
        """The float weights that the codes stand for, as `run_student` takes them."""
        weights: dict[str, Tensor] = {}
        for layer in self.network.matrices:
            name, codes, lsb = layer.name, self.codes[layer.name], self.lsb[layer.name]
            weights[f"{name}.weight"] = lsb * codes.weight.float().view(layer.weight_shape)
            weights[f"{name}.bias"] = self.bias(name)
        gains = {f"{stage}.gain": torch.tensor(gain) for stage, gain in self.gains.items()}
        return weights | gains

    def with_codes(self, codes: Mapping[str, LayerCodes]) -> "Student":
        """The same student with other codes: what one chip was given."""
        return self._replace(codes=codes)

    def to_block(self) -> bytes:
        """As a safetensors block."""
        tensors = {
            f"{layer}.{field}": tensor
            for layer, codes in self.codes.items()
            for field, tensor in codes._asdict().items()
        }
        about = {
            "network": self.network.model_dump_json(),
            "neuron": self.neuron.model_dump_json(),
            "format": json.dumps(self.format._asdict()),
            "scales": json.dumps(
                {
                    "lsb": dict(self.lsb),
                    "full_scale": dict(self.full_scale),
                    "input_full_scale": self.input_full_scale,
                    "gains": {stage: list(gain) for stage, gain in self.gains.items()},
                }
            ),
        }
        return pack(tensors, about)

    @classmethod
    def from_block(cls, block: bytes) -> "Student":
        """Read what `to_block` wrote. Raises CorruptTensorsError."""
        tensors, about = unpack(block)
        try:
            network = NetworkSpec.model_validate_json(about["network"])
            codes = {
                layer.name: LayerCodes(
                    *(tensors[f"{layer.name}.{field}"] for field in LayerCodes._fields)
                )
                for layer in network.matrices
            }
            return cls(
                network,
                NeuronSettings.model_validate_json(about["neuron"]),
                CodeFormat(**json.loads(about["format"])),
                codes,
                **json.loads(about["scales"]),
            )
        except (KeyError, TypeError) as error:
            raise CorruptTensorsError(f"it is no student: {error}") from error


def layerwise_forward_student(
    student: Student,
    inputs: Float[Tensor, "batch *shape"],
    supervision: Supervision | None = None,
    *,
    in_bytes: bool = True,
) -> LayerwiseResult:
    """`layerwise_forward` in codes: every sum of codes over spikes is an integer, and exact.

    So the products run in bytes where the processor has such a product, and whether they do
    changes no bit of what comes of it.
    """
    packed = {
        stage.name: tuple(_packed_codes(student, stage, in_bytes))
        for stage in student.network.stages
    }
    return layerwise_forward_packed(student.network, packed, inputs, student.neuron, supervision)


def _packed_codes(student: Student, stage: Stage, in_bytes: bool) -> Iterator[PackedWeights]:
    gains = iter(student.gains.get(stage.name, ()))
    for branch in stage.branches:
        if (layer := branch.layer) is None:
            yield BranchWeights(torch.tensor(next(gains)), None)
            continue
        codes = student.codes[layer.name].weight.view(layer.weight_shape)
        spiking = branch.source is not None and not branch.pools
        grouped = isinstance(layer, Conv2d) and layer.groups != 1
        small = student.format.weight_max <= LARGEST
        scale, bias = student.lsb[layer.name], student.bias(layer.name)
        if grouped:
            yield BranchWeights(scale * as_matrix(layer, codes.float()), bias)
        elif in_bytes and spiking and small and has_byte_products(codes.device):
            yield ByteWeights(layer, pack_bytes(layer, codes.to(torch.int8)), bias, scale)
        else:
            yield BranchWeights(as_matrix(layer, codes.float()), bias, scale)


def run_student(student: Student, inputs: Float[Tensor, "batch *shape"]) -> list[LayerTrace]:
    """Every layer's window at once, for small batches; see `layer_traces` for the frugal form."""
    return list(layer_traces(student.network, student.weights(), inputs, student.neuron))


def zero_trims(columns: int) -> Int[Tensor, " column"]:
    """Registers at rest."""
    return torch.zeros(columns, dtype=torch.int16)
