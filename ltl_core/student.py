"""The student: a spiking network in integer codes, and its ideal behaviour over time."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ltl_core.chip import LayerSettings, Placement
from ltl_core.codes import CodeFormat
from ltl_core.errors import CorruptTensorsError
from ltl_core.layers import gather, multiply, per_column
from ltl_core.network import NetworkSpec, Stage
from ltl_core.neuron import lif_window
from ltl_core.packing import pack, unpack
from ltl_core.settings import NeuronSettings

Weights = Mapping[str, Tensor]


class LayerCodes(NamedTuple):
    """What a chip is given of one layer: weights, and the trims of each column."""

    weight: Int[Tensor, "column row"]
    bias: Int[Tensor, " column"]
    threshold: Int[Tensor, " column"]


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

    def threshold(self, stage: Stage) -> float:
        """In code units; of the readout, the unit of its bias trims."""
        name = stage.name
        return self.full_scale[name] if stage.is_readout else self.neuron.threshold / self.lsb[name]

    def bias_lsb(self, stage: Stage) -> float:
        """One bias trim code, in code units."""
        return self.format.trim_lsb * self.threshold(stage)

    def placement(self) -> Placement:
        """How a chip is to be set up for this student."""
        layers = {
            stage.name: LayerSettings(
                threshold=self.threshold(stage),
                decay=self.neuron.decay,
                window=self.neuron.surrogate_width / self.lsb[stage.name],
                full_scale=self.full_scale[stage.name],
            )
            for stage in self.network.stages
        }
        return Placement(self.network, layers, self.input_full_scale)

    def weights(self) -> dict[str, Tensor]:
        """The float weights that the codes stand for, as `run_student` takes them."""
        weights: dict[str, Tensor] = {}
        for stage in self.network.stages:
            codes, lsb = self.codes[stage.name], self.lsb[stage.name]
            weights[f"{stage.name}.weight"] = lsb * codes.weight.float().view(
                stage.layer.weight_shape
            )
            weights[f"{stage.name}.bias"] = lsb * self.bias_lsb(stage) * codes.bias.float()
        return weights

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
                stage.name: LayerCodes(
                    *(tensors[f"{stage.name}.{field}"] for field in LayerCodes._fields)
                )
                for stage in network.stages
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


class Window(NamedTuple):
    """One layer over all steps: what reached it, its column sums with bias, and what it did.

    Of the first layer, which sees the same analog values at every step, `rows` is one step long.
    Of the readout, `membrane` is the running sum and `spikes` is None.
    """

    stage: Stage
    rows: Float[Tensor, "time batch *input"]
    membrane: Float[Tensor, "time batch *neuron"]
    spikes: Float[Tensor, "time batch *neuron"] | None


def warm_start(
    network: NetworkSpec, weights: Weights, scales: Mapping[str, float], neuron: NeuronSettings
) -> dict[str, Tensor]:
    """The teacher's weights, scaled so that a rate stands for an activation.

    W_l <- W_l (k_{l-1} / k_l) threshold,  b_l <- b_l threshold / k_l,  k_0 = 1;
    the readout keeps its units: W_L <- W_L k_{L-1}.
    """
    started: dict[str, Tensor] = {}
    for stage in network.stages:
        before = 1.0 if stage.source is None else scales[stage.source]
        gain = 1.0 if stage.is_readout else neuron.threshold / scales[stage.name]
        started[f"{stage.name}.weight"] = weights[f"{stage.name}.weight"] * before * gain
        started[f"{stage.name}.bias"] = weights[f"{stage.name}.bias"] * gain
    return started


def windows(
    network: NetworkSpec,
    weights: Weights,
    inputs: Float[Tensor, "batch *shape"],
    neuron: NeuronSettings,
) -> Iterator[Window]:
    """Run a student layer by layer, each over the whole window: memory is one layer's."""
    values = inputs.unsqueeze(0)
    for stage in network.stages:
        rows = over_time(lambda flat, stage=stage: gather(stage, flat), values)  # type: ignore[misc]
        current = column_sums(stage, weights, rows)
        current = current.expand(neuron.steps, *current.shape[1:])
        if stage.is_readout:
            yield Window(stage, rows, current.cumsum(0), None)
        else:
            membrane, values = lif_window(current, neuron)
            yield Window(stage, rows, membrane, values)


def column_sums(
    stage: Stage, weights: Weights, rows: Float[Tensor, "time batch *input"]
) -> Float[Tensor, "time batch *output"]:
    """sum_j W_ij x_j + b_i at every step."""
    weight = weights[f"{stage.name}.weight"]
    sums = over_time(lambda flat: multiply(stage, weight, flat), rows)
    return sums.add_(per_column(weights[f"{stage.name}.bias"], stage))


def over_time(
    function: Callable[[Tensor], Tensor], values: Float[Tensor, "time batch *shape"]
) -> Float[Tensor, "time batch *out"]:
    """Apply what knows only samples to every step at once."""
    result = function(values.flatten(0, 1))
    return result.view(*values.shape[:2], *result.shape[1:])


def run_student(student: Student, inputs: Float[Tensor, "batch *shape"]) -> list[Window]:
    """Every layer's window at once, for small batches; see `windows` for the frugal form."""
    return list(windows(student.network, student.weights(), inputs, student.neuron))


def zero_trims(columns: int) -> Int[Tensor, " column"]:
    """Registers at rest."""
    return torch.zeros(columns, dtype=torch.int16)
