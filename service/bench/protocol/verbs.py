"""The verbs of the port as messages: how the driver asks, and what the agent does then.

A new verb is a question, an entry in VERBS with its function, a reader in `answers.py` and a method
of the driver.
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
    Stimulus,
    Tuning,
    run_by_layer,
    tunable,
    write_layers,
)
from ltl_core.chip_info import info_to_json
from service.bench.protocol.wire import MalformedBodyError, Message


class Verb(NamedTuple):
    """What the agent does when it is asked."""

    perform: Callable[[ChipBackend, Message], Message | Iterator[Message]]
    changes: bool = True  # the chip, or its clock: it is done once, and kept
    in_pieces: bool = False  # each piece of the answer is sent as soon as it is there


def ask_place(placement: Placement) -> Message:
    return Message({"placement": placement_to_json(placement)})


def ask_program(layer: str, codes: Tensor) -> Message:
    return Message({"layer": layer}, {"codes": codes})


def ask_trim(layer: str, threshold: Tensor, bias: Tensor) -> Message:
    return Message({"layer": layer}, {"threshold": threshold, "bias": bias})


def ask_write(codes: Mapping[str, LayerCodes]) -> Message:
    """Each tensor under "field/layer"."""
    return layers_message(codes, {"layers": list(codes)})


def ask_run(stimulus: Stimulus, record: Mapping[str, Observable]) -> Message:
    asked = _ask_stimulus(stimulus)
    return asked._replace(fields={**asked.fields, "record": dict(record)})


def ask_settle(seconds: float) -> Message:
    return Message({"seconds": float(seconds)})


def ask_tuning(layer: str) -> Message:
    return Message({"layer": layer})


def ask_tune(layer: str, tuning: Tuning) -> Message:
    return tuning_message(tuning, {"layer": layer})


def ask_convert(layer: str, level: float, repeats: int) -> Message:
    return Message({"layer": layer, "level": float(level), "repeats": repeats})


def ask_excite(layer: str, current: Tensor, repeats: int) -> Message:
    return Message({"layer": layer, "repeats": repeats}, {"current": current})


def ask_clipped(stimulus: Stimulus) -> Message:
    return _ask_stimulus(stimulus)


def tuning_message(tuning: Tuning, beside: Mapping[str, str]) -> Message:
    """Register codes, with other fields beside them."""
    tensors = tuning._asdict()
    return Message({**beside, "adc_range": tensors.pop("adc_range")}, tensors)


def layers_message(
    layers: Mapping[str, LayerCodes] | Mapping[str, LayerRecording], beside: Mapping[str, Any]
) -> Message:
    """The tensors of every layer, named "field/layer"; those that are not there are left out."""
    tensors = {
        f"{field}/{layer}": tensor
        for layer, content in layers.items()
        for field, tensor in content._asdict().items()
        if tensor is not None
    }
    return Message(beside, tensors)


def read_tuning(message: Message) -> Tuning:
    """What `tuning_message` wrote. Raises MalformedBodyError."""
    tensors = {name: message.tensor(name) for name in Tuning._fields if name != "adc_range"}
    return Tuning(**tensors, adc_range=message.field("adc_range", int))


def _ask_stimulus(stimulus: Stimulus) -> Message:
    """Spikes travel as bits; an analog value, or a spike that is neither 0 nor 1, as it is."""
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
    return Message({"info": info_to_json(chip.info), "verbs": list(VERBS)})


def _place(chip: ChipBackend, call: Message) -> Message:
    try:
        placement = placement_from_json(call.field("placement", str))
    except (ValidationError, ValueError, TypeError, KeyError) as error:
        raise MalformedBodyError("its placement cannot be read") from error
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
    """Each tensor under "observable/layer"."""
    fields = {"layers": list(recording.layers), "chip_time_s": recording.chip_time}
    return layers_message(recording.layers, fields)


def _iter_layers(chip: ChipBackend, call: Message) -> Iterator[Message]:
    """A recording in pieces, and the time at last."""
    for layer, shown in run_by_layer(chip, _read_stimulus(call), _read_record(call)):
        yield layers_message({layer: shown}, {"layer": layer})
    yield Message({"chip_time_s": chip.now()})


def _read_record(call: Message) -> dict[str, Observable]:
    try:
        return {layer: Observable(shown) for layer, shown in call.field("record", dict).items()}
    except ValueError as error:
        raise MalformedBodyError(str(error)) from error


def _probe(chip: ChipBackend, _call: Message) -> Message:
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
    return Message({"parts": dict(tunable(chip).clipped(_read_stimulus(call)))})


VERBS: Mapping[str, Verb] = {
    "info": Verb(_info, changes=False),
    "place": Verb(_place),
    "program": Verb(_program),
    "trim": Verb(_trim),
    "write": Verb(_write),
    "run": Verb(_run),
    # On the wire it keeps its first name: agents and drivers of different versions talk.
    "tell_layers": Verb(_iter_layers, in_pieces=True),
    "probe": Verb(_probe),
    "settle": Verb(_settle),
    "now": Verb(_now, changes=False),
    "tuning": Verb(_tuning, changes=False),
    "tune": Verb(_tune),
    "convert": Verb(_convert),
    "excite": Verb(_excite),
    "clipped": Verb(_clipped),
}
