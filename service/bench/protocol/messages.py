"""Messages of the verbs of the port: requests of the driver, and what both sides read or write."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from chip_sim.placement import placement_to_json
from ltl_core.chip import (
    LayerCodes,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    SideWeights,
    Stimulus,
    Tuning,
)
from service.bench.protocol.wire import MalformedBodyError, Message


def place_request(placement: Placement) -> Message:
    """Return the request to place a network."""
    return Message({"placement": placement_to_json(placement)})


def program_request(layer: str, codes: Tensor) -> Message:
    """Return the request to write the weight codes of one layer."""
    return Message({"layer": layer}, {"codes": codes})


def trim_request(layer: str, threshold: Tensor, bias: Tensor) -> Message:
    """Return the request to set the trim registers of one layer."""
    return Message({"layer": layer}, {"threshold": threshold, "bias": bias})


def write_request(codes: Mapping[str, LayerCodes]) -> Message:
    """Return the request to write many layers; each tensor is named "field/layer"."""
    return layers_message(codes, {"layers": list(codes)})


def run_request(stimulus: Stimulus, record: Mapping[str, Observable]) -> Message:
    """Return the request to present a stimulus and record these observables."""
    message = _stimulus_message(stimulus)
    return message._replace(fields={**message.fields, "record": dict(record)})


def settle_request(seconds: float) -> Message:
    """Return the request to leave the chip alone for `seconds` on its own clock."""
    return Message({"seconds": float(seconds)})


def tuning_request(layer: str) -> Message:
    """Return the request for the register codes under one layer."""
    return Message({"layer": layer})


def tune_request(layer: str, tuning: Tuning) -> Message:
    """Return the request to set the registers under one layer."""
    return tuning_message(tuning, {"layer": layer})


def convert_request(layer: str, level: float, repeats: int) -> Message:
    """Return the request to convert the reference current, `level` of full scale."""
    return Message({"layer": layer, "level": float(level), "repeats": repeats})


def excite_request(layer: str, current: Tensor, repeats: int) -> Message:
    """Return the request to excite the neurons of one layer with the test current."""
    return Message({"layer": layer, "repeats": repeats}, {"current": current})


def clipped_request(stimulus: Stimulus) -> Message:
    """Return the request for the fraction of ADC conversions that saturate."""
    return _stimulus_message(stimulus)


def set_side_request(layer: str, weights: SideWeights | None) -> Message:
    """Return the request to set the side weights of one layer; None takes them away."""
    if weights is None:
        return Message({"layer": layer, "scales": None})
    scales = [float(weights.down_scale), float(weights.up_scale)]
    return Message({"layer": layer, "scales": scales}, {"down": weights.down, "up": weights.up})


def tuning_message(tuning: Tuning, fields: Mapping[str, str]) -> Message:
    """Return the message that holds register codes, with other fields beside them.

    A peer of an earlier version knows one range for a layer, and reads the widest as a field.
    """
    widest = {"adc_range": int(tuning.adc_range.max())}
    return Message({**fields, **widest, "readout_gain": tuning.readout_gain}, tuning.tensors)


def layers_message(
    layers: Mapping[str, LayerCodes] | Mapping[str, LayerRecording], fields: Mapping[str, Any]
) -> Message:
    """Return the message that holds the tensors of each layer, named "field/layer".

    Tensors that are None are left out. `fields` stand beside the tensors.
    """
    tensors = {
        f"{field}/{layer}": tensor
        for layer, content in layers.items()
        for field, tensor in content._asdict().items()
        if tensor is not None
    }
    return Message(fields, tensors)


def read_tuning(message: Message) -> Tuning:
    """Read what `tuning_message` wrote. Raises MalformedBodyError.

    A peer of an earlier version sends one range, which is that of all rows of tiles, and no gain.
    """
    names = ("adc_offset", "adc_gain", "threshold", "leak")
    tensors = {name: message.tensor(name) for name in names}
    ranges = message.tensors.get("adc_range")
    if ranges is None:
        rows = tensors["adc_offset"].shape[:1]
        ranges = torch.full(rows, _small(message, "adc_range"), dtype=torch.int64)
    gain = _small(message, "readout_gain") if "readout_gain" in message.fields else 0
    return Tuning(**tensors, adc_range=ranges, readout_gain=gain)


def _small(message: Message, name: str) -> int:
    """Read an integer that a register of 32 bits could hold. Raises MalformedBodyError."""
    value = int(message.field(name, int))
    if abs(value) >= 1 << 31:
        raise MalformedBodyError(f"{name} is a number which no register holds")
    return value


def _stimulus_message(stimulus: Stimulus) -> Message:
    """Send spikes as bits, but analog values, and spikes that are neither 0 nor 1, as they are."""
    values, fields = stimulus.values, {"steps": stimulus.steps, "layer": stimulus.layer}
    if stimulus.layer is not None and values.dtype == torch.float32:
        spikes = values.bool()
        if torch.equal(spikes.to(values.dtype), values):
            return Message(fields, {"spikes": spikes})
    return Message(fields, {"values": values})


def read_stimulus(call: Message) -> Stimulus:
    """Read what a request with a stimulus holds. Raises MalformedBodyError."""
    layer = None if call.fields.get("layer") is None else call.field("layer", str)
    spikes = call.tensors.get("spikes")
    values = call.tensor("values") if spikes is None else spikes.float()
    return Stimulus(values, call.field("steps", int), layer)


def recording_message(recording: Recording) -> Message:
    """Return the message that holds a recording; each tensor is named "observable/layer"."""
    fields = {"layers": list(recording.layers), "chip_time_s": recording.chip_time}
    return layers_message(recording.layers, fields)
