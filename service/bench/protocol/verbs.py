"""The verbs of the port as messages: requests of the driver, and how the agent handles them.

A new verb takes a request and an entry in VERBS with its handler here, a reader in
`driver/answers.py`, and a method of `HttpChip` and of `LeasedBackend`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from chip_sim.placement import placement_from_json, placement_to_json
from ltl_core.chip import (
    ChipBackend,
    LayerCodes,
    LayerRecording,
    Observable,
    Placement,
    Recording,
    SideWeights,
    Stimulus,
    Tuning,
)
from ltl_core.chip_info import info_to_json
from ltl_core.errors import ChipError
from ltl_core.optional_verbs import ProbingChip, run_by_layer, side_weighted, tunable, write_layers
from service.bench.protocol.wire import MalformedBodyError, Message


class Verb(NamedTuple):
    """How the agent handles one verb."""

    handle: Callable[[ChipBackend, Message], Message | Iterator[Message]]
    changes_chip: bool = True  # or its clock: such a call is kept, and handled once
    streamed: bool = False  # the answer is sent in frames, each as soon as it is known


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


def _read_stimulus(call: Message) -> Stimulus:
    layer = None if call.fields.get("layer") is None else call.field("layer", str)
    spikes = call.tensors.get("spikes")
    values = call.tensor("values") if spikes is None else spikes.float()
    return Stimulus(values, call.field("steps", int), layer)


def _info(chip: ChipBackend, _call: Message) -> Message:
    """Describe the chip, and name the verbs: a chip without a probe is probed by `run`."""
    known = [verb for verb in VERBS if verb != "probe" or isinstance(chip, ProbingChip)]
    return Message({"info": info_to_json(chip.info), "verbs": known})


def _place(chip: ChipBackend, call: Message) -> Message:
    try:
        placement = placement_from_json(call.field("placement", str))
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise MalformedBodyError("the placement in it cannot be read") from error
    chip.place(placement)
    return Message()


def _program(chip: ChipBackend, call: Message) -> Message:
    report = chip.program(call.field("layer", str), call.tensor("codes"))
    return Message({"cells": report.cells, "pulses": report.pulses}, {"failed": report.failed})


def _trim(chip: ChipBackend, call: Message) -> Message:
    chip.trim(call.field("layer", str), call.tensor("threshold"), call.tensor("bias"))
    return Message()


def _write(chip: ChipBackend, call: Message) -> Message:
    codes = {
        layer: LayerCodes(*(call.tensor(f"{field}/{layer}") for field in LayerCodes._fields))
        for layer in call.field("layers", list)
    }
    reports = write_layers(chip, codes)
    counts = {layer: [report.cells, report.pulses] for layer, report in reports.items()}
    failed = {layer: report.failed for layer, report in reports.items()}
    return Message({"written": counts}, failed)


def _run(chip: ChipBackend, call: Message) -> Message:
    return recording_message(chip.run(_read_stimulus(call), _read_record(call)))


def recording_message(recording: Recording) -> Message:
    """Return the message that holds a recording; each tensor is named "observable/layer"."""
    fields = {"layers": list(recording.layers), "chip_time_s": recording.chip_time}
    return layers_message(recording.layers, fields)


def _iter_layers(chip: ChipBackend, call: Message) -> Iterator[Message]:
    """Yield one message for each layer, then one with the chip's time."""
    for layer, shown in run_by_layer(chip, _read_stimulus(call), _read_record(call)):
        yield layers_message({layer: shown}, {"layer": layer})
    yield Message({"chip_time_s": chip.now()})


def _read_record(call: Message) -> dict[str, Observable]:
    try:
        return {layer: Observable(shown) for layer, shown in call.field("record", dict).items()}
    except ValueError as error:
        raise MalformedBodyError(str(error)) from error


def _probe(chip: ChipBackend, _call: Message) -> Message:
    if not isinstance(chip, ProbingChip):  # a service of an earlier version does not know of it
        raise ChipError("The chip has no probe of its own: update the service, or its driver.")
    fingerprint = chip.probe()
    return Message({"chip_time_s": fingerprint.chip_time}, fingerprint.rates)


def _settle(chip: ChipBackend, call: Message) -> Message:
    chip.settle(call.field("seconds", float))
    return Message()


def _now(chip: ChipBackend, _call: Message) -> Message:
    return Message({"chip_time_s": chip.now()})


def _tuning(chip: ChipBackend, call: Message) -> Message:
    return tuning_message(tunable(chip).tuning(call.field("layer", str)), {})


def _tune(chip: ChipBackend, call: Message) -> Message:
    tunable(chip).tune(call.field("layer", str), read_tuning(call))
    return Message()


def _convert(chip: ChipBackend, call: Message) -> Message:
    layer, level = call.field("layer", str), call.field("level", float)
    codes = tunable(chip).convert(layer, level, call.field("repeats", int))
    return Message({}, {"codes": codes})


def _excite(chip: ChipBackend, call: Message) -> Message:
    layer, current = call.field("layer", str), call.tensor("current")
    return Message({}, {"counts": tunable(chip).excite(layer, current, call.field("repeats", int))})


def _clipped(chip: ChipBackend, call: Message) -> Message:
    """Answer by row of tiles, and for drivers of earlier versions by layer."""
    clipped = dict(tunable(chip).clipped(_read_stimulus(call)))
    return Message({"parts": {name: float(part.mean()) for name, part in clipped.items()}}, clipped)


def _set_side(chip: ChipBackend, call: Message) -> Message:
    side_weighted(chip).set_side(call.field("layer", str), _read_side(call))
    return Message()


def _read_side(call: Message) -> SideWeights | None:
    if call.fields.get("scales") is None:
        return None
    scales = call.field("scales", list)
    if len(scales) != 2 or not all(isinstance(scale, float) for scale in scales):
        raise MalformedBodyError("it lacks the scales of two matrices")
    return SideWeights(call.tensor("down"), call.tensor("up"), *scales)


VERBS: Mapping[str, Verb] = {
    "info": Verb(_info, changes_chip=False),
    "place": Verb(_place),
    "program": Verb(_program),
    "trim": Verb(_trim),
    "write": Verb(_write),
    "run": Verb(_run),
    # On the wire it keeps its first name: agents and drivers of different versions talk.
    "tell_layers": Verb(_iter_layers, streamed=True),
    "probe": Verb(_probe),
    "settle": Verb(_settle),
    "now": Verb(_now, changes_chip=False),
    "tuning": Verb(_tuning, changes_chip=False),
    "tune": Verb(_tune),
    "convert": Verb(_convert),
    "excite": Verb(_excite),
    "clipped": Verb(_clipped),
    "set_side": Verb(_set_side),
}
