"""The verbs of the port, and how the agent handles them.

A new verb takes a request in `messages.py`, an entry in VERBS with its handler here, a reader in
`driver/answers.py`, and a method of `HttpChip` and of `LeasedBackend`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from pydantic import ValidationError

from chip_sim.placement import placement_from_json
from ltl_core.chip import (
    ChipBackend,
    LayerCodes,
    Observable,
    SideWeights,
)
from ltl_core.chip_info import info_to_json
from ltl_core.errors import ChipError
from ltl_core.optional_verbs import ProbingChip, run_by_layer, side_weighted, tunable, write_layers
from service.bench.protocol.messages import (
    layers_message,
    read_stimulus,
    read_tuning,
    recording_message,
    tuning_message,
)
from service.bench.protocol.wire import MalformedBodyError, Message


class Verb(NamedTuple):
    """How the agent handles one verb."""

    handle: Callable[[ChipBackend, Message], Message | Iterator[Message]]
    changes_chip: bool = True  # or its clock: such a call is kept, and handled once
    streamed: bool = False  # the answer is sent in frames, each as soon as it is known


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
    return recording_message(chip.run(read_stimulus(call), _read_record(call)))


def _iter_layers(chip: ChipBackend, call: Message) -> Iterator[Message]:
    """Yield one message for each layer, then one with the chip's time."""
    for layer, shown in run_by_layer(chip, read_stimulus(call), _read_record(call)):
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
    clipped = dict(tunable(chip).clipped(read_stimulus(call)))
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
