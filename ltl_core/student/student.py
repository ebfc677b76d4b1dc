"""The student: a spiking network in integer codes, with the scales that give them a meaning."""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import LayerCodes, LayerSettings, Placement, SideWeights, Stimulus
from ltl_core.errors import CorruptTensorsError, SettingError
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import pack, unpack
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.inputs import are_sequences, as_frames
from ltl_core.student.activity import Activity, activity_tensors, read_activity
from ltl_core.student.codes import CodeFormat, as_integers, encode, encode_trim, zero_trims
from ltl_core.student.side_codes import read_side, side_matrix, side_tensors


class Student(NamedTuple):
    """A spiking network in codes, with the size of one code in every layer.

    A weight is `code * lsb`; a bias is `code * trim_lsb * threshold` in the same units, where the
    readout, which has no threshold, uses its full scale instead.
    """

    network: NetworkSpec
    neuron: NeuronSettings
    format: CodeFormat
    codes: Mapping[str, LayerCodes]
    lsb: Mapping[str, float]  # weight of one code, by matrix
    full_scale: Mapping[str, float]  # of the column sums, code units
    input_full_scale: float  # largest input, input units
    gains: Mapping[str, Sequence[float]] = {}  # of straight branches, in units of the weights
    side: Mapping[str, SideWeights] = {}  # digital weights beside a chip's arrays, by matrix
    activity: Activity | None = None  # on samples that it learned from; None if unknown

    def threshold(self, layer: str) -> float:
        """Return the threshold of a matrix in code units; of the readout, its full scale."""
        if layer == self.network.stages[-1].name:
            return self.full_scale[layer]
        return self.neuron.threshold / self.lsb[layer]

    def bias_lsb(self, layer: str) -> float:
        """Return the size of one bias trim code of a matrix, in code units."""
        return self.format.trim_lsb * self.threshold(layer)

    def bias(self, layer: str) -> Float[Tensor, " column"]:
        """Return what is added to the column sums of a matrix at every step, in weight units."""
        return self.lsb[layer] * self.bias_lsb(layer) * self.codes[layer].bias.float()

    def placement(self) -> Placement:
        """Return how a chip is to be set up for this student."""
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

    def stimulus(self, inputs: Float[Tensor, "batch *shape"]) -> Stimulus:
        """Return what a chip is presented for these samples, over the steps of the student.

        Still inputs are analog values. Sequences of frames are spikes, or the number of events, at
        every step. Raises SettingError if a frame has other values than whole numbers from zero
        on, or if several layers read the input, and LayerShapeError if there is not a frame for
        every step.
        """
        frames, steps = as_frames(self.network, inputs, self.neuron.steps), self.neuron.steps
        if not are_sequences(self.network, inputs):
            return Stimulus(frames[0], steps)
        return Stimulus(frames, steps, self._reader_of_events(frames))

    def _reader_of_events(self, frames: Float[Tensor, "time batch *input"]) -> str:
        """Return the layer that spikes of the input are played into."""
        if (frames.round() != frames).any() or (frames < 0).any():
            raise SettingError(
                "A chip takes sequences of events, whole numbers from zero on, and these are not: "
                "count the events of every step."
            )
        stages = self.network.stages
        readers = [s.layer.name for s in stages if any(b.source is None for b in s.branches)]
        if len(readers) > 1:
            raise SettingError(
                f"The layers {', '.join(readers)} read the input, and a chip takes sequences into "
                "one layer: use a network in which one layer reads it."
            )
        return readers[0]

    def weights(self) -> dict[str, Tensor]:
        """Return the float weights that the codes stand for, in the form of `Weights`."""
        weights: dict[str, Tensor] = {}
        for layer in self.network.matrices:
            name, lsb = layer.name, self.lsb[layer.name]
            weights[f"{name}.weight"] = lsb * self.code_sums(name).view(layer.weight_shape)
            weights[f"{name}.bias"] = self.bias(name)
        gains = {f"{stage}.gain": torch.tensor(gain) for stage, gain in self.gains.items()}
        return weights | gains

    def code_sums(self, layer: str) -> Float[Tensor, "column row"]:
        """Return the weights of a matrix with its side weights, in code units."""
        codes = self.codes[layer].weight.float()
        return codes + side_matrix(self.side[layer]) if layer in self.side else codes

    def with_codes(self, codes: Mapping[str, LayerCodes]) -> "Student":
        """Return the same student with other codes, such as those of one chip."""
        return self._replace(codes=codes)

    def with_weights(self, weights: Mapping[str, Tensor]) -> "Student":
        """Return the same student with the codes nearest to these float weights, and no trims.

        Biases are rounded to trim codes; thresholds are nominal. There are no side weights.
        """
        codes: dict[str, LayerCodes] = {}
        for name, lsb in self.lsb.items():
            weight = weights[f"{name}.weight"].flatten(1) / lsb
            bias = weights[f"{name}.bias"] / (lsb * self.bias_lsb(name))
            codes[name] = LayerCodes(
                as_integers(encode(weight, self.format)),
                as_integers(encode_trim(bias, self.format)),
                zero_trims(len(weight)),
            )
        return self._replace(codes=codes, side={})

    def to_block(self) -> bytes:
        """Return the student as a safetensors block."""
        tensors = {
            f"{layer}.{field}": tensor
            for layer, codes in self.codes.items()
            for field, tensor in codes._asdict().items()
        }
        scales = {
            "lsb": dict(self.lsb),
            "full_scale": dict(self.full_scale),
            "input_full_scale": self.input_full_scale,
            "gains": {stage: list(gain) for stage, gain in self.gains.items()},
        }
        metadata = {
            "network": self.network.model_dump_json(),
            "neuron": self.neuron.model_dump_json(),
            "format": json.dumps(self.format._asdict()),
            "scales": json.dumps(scales),
        }
        return pack(tensors | side_tensors(self.side) | activity_tensors(self.activity), metadata)

    @classmethod
    def from_block(cls, block: bytes) -> "Student":
        """Read a block that `to_block` wrote; earlier ones have neither side weights nor activity.

        Raises CorruptTensorsError.
        """
        tensors, metadata = unpack(block)
        try:
            network = NetworkSpec.model_validate_json(metadata["network"])
            codes = {
                layer.name: LayerCodes(
                    *(tensors[f"{layer.name}.{field}"] for field in LayerCodes._fields)
                )
                for layer in network.matrices
            }
            return cls(
                network,
                NeuronSettings.model_validate_json(metadata["neuron"]),
                CodeFormat(**json.loads(metadata["format"])),
                codes,
                **json.loads(metadata["scales"]),
                side=read_side(tensors),
                activity=read_activity(tensors),
            )
        except (KeyError, TypeError) as error:
            raise CorruptTensorsError(f"it is not a student: {error}") from error
