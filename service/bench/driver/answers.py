"""Readers of an agent's answers: each checks types, shapes and ranges before a job sees a value."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ltl_core.chip import (
    ChipInfo,
    Fingerprint,
    LayerCodes,
    LayerRecording,
    Observable,
    Recording,
    Stimulus,
    Tuning,
    TuningInfo,
    WriteReport,
)
from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from service.bench.driver.checks import (
    Kind,
    Shape,
    are_layers,
    check_finite,
    check_kind,
    check_range,
    check_tensor,
    other_layers,
    read_number,
    read_tensor,
    read_whole,
    shown_shape,
)
from service.bench.protocol.chip_info import parse_chip_info
from service.bench.protocol.messages import read_tuning
from service.bench.protocol.wire import MalformedBodyError, Message


def read_info(answer: Message, chip_id: str) -> ChipInfo:
    """Read what the chip is, with the id of the service. Raises MalformedBodyError."""
    try:
        return parse_chip_info(answer.field("info", dict))._replace(chip_id=chip_id)
    except ValueError:  # it quotes the answer
        raise MalformedBodyError("its description of the chip is not valid") from None


def read_verbs(answer: Message) -> list[Any]:
    """Read the verbs that the agent knows; an old one names none. Raises MalformedBodyError."""
    return list(answer.field("verbs", list)) if "verbs" in answer.fields else []


def read_report(answer: Message, codes: Tensor) -> WriteReport:
    """Read the report on writing these codes to one layer. Raises MalformedBodyError."""
    failed = read_tensor(answer, "failed", Kind.BITS, tuple(codes.shape))
    cells = read_whole(answer, "cells", codes.numel())
    return WriteReport(cells, read_whole(answer, "pulses", 2**62), failed)


def read_reports(answer: Message, codes: Mapping[str, LayerCodes]) -> Mapping[str, WriteReport]:
    """Read one report for each layer written, and no other. Raises MalformedBodyError."""
    written = answer.field("written", dict)
    if set(written) != set(codes) or set(answer.tensors) != set(codes):
        raise MalformedBodyError(other_layers(codes))
    reports = {}
    for layer, code in codes.items():
        counts, failed = written[layer], {"failed": answer.tensors[layer]}
        if not isinstance(counts, list) or len(counts) != 2:
            raise MalformedBodyError(f"it lacks the cells and pulses of layer '{layer}'")
        payload = dict(zip(("cells", "pulses"), counts, strict=True))
        reports[layer] = read_report(Message(payload, failed), code.weight)
    return reports


def read_recording(
    answer: Message,
    stimulus: Stimulus,
    record: Mapping[str, Observable],
    network: NetworkSpec | None,
) -> Recording:
    """Read every layer that was asked for and no other, in the shapes of the network on the chip.

    If the network is not known, batch and steps are checked, and that tensors of a layer agree.
    Raises MalformedBodyError.
    """
    if not are_layers(answer.field("layers", list), record):
        raise MalformedBodyError(other_layers(record))
    read = _reader(stimulus, network)
    layers = {layer: read(answer, layer, asked) for layer, asked in record.items()}
    return Recording(layers, read_time(answer))


def read_layers(
    messages: Iterator[Message],
    stimulus: Stimulus,
    record: Mapping[str, Observable],
    network: NetworkSpec | None,
) -> Iterator[tuple[str, LayerRecording]]:
    """Read one message for each layer, in the order of `record`. Raises MalformedBodyError."""
    read = _reader(stimulus, network)
    for layer, asked in record.items():
        message = next(messages, None)
        if message is None or message.field("layer", str) != layer:
            raise MalformedBodyError(f"its next frame is not of layer '{layer}'")
        yield layer, read(message, layer, asked)


def read_last(messages: Iterator[Message]) -> float:
    """Read the message after the layers: the chip's clock, s. Raises MalformedBodyError."""
    last = next(messages, None)
    if last is None or next(messages, None) is not None:
        raise MalformedBodyError("it does not end with one frame after the last layer")
    return read_time(last)


def _reader(
    stimulus: Stimulus, network: NetworkSpec | None
) -> Callable[[Message, str, Observable], LayerRecording]:
    """Return a reader for one layer of a message."""
    stages = {} if network is None else {stage.name: stage for stage in network.stages}
    batch = stimulus.values.shape[0 if stimulus.layer is None else 1]

    def read(answer: Message, layer: str, asked: Observable) -> LayerRecording:
        return _LayerReader(answer, layer, stimulus.steps, batch).read(asked, stages.get(layer))

    return read


def read_fingerprint(answer: Message, network: NetworkSpec | None) -> Fingerprint:
    """Read the rate of each column, 0 to 1 where the layer spikes. Raises MalformedBodyError."""
    rates = dict(answer.tensors)
    if network is not None:
        expected = [stage.name for stage in network.stages]
        if set(rates) != set(expected):
            raise MalformedBodyError(other_layers(expected))
        for stage in network.stages:
            check_tensor(rates[stage.name], stage.name, Kind.REALS, (stage.columns,))
            if not stage.is_readout:
                check_range(rates[stage.name], stage.name, 0, 1)
    for name, rate in rates.items():
        shown = "a layer" if network is None else name
        check_kind(rate, shown, Kind.REALS)
        check_finite(rate, shown)
    return Fingerprint(rates, read_time(answer))


def read_time(answer: Message) -> float:
    """Read the chip's clock, in seconds. Raises MalformedBodyError."""
    return read_number(answer.fields.get("chip_time_s"), "chip_time_s", 0, math.inf)


def read_registers(answer: Message, info: TuningInfo) -> Tuning:
    """Read register codes, each in the range of its register. Raises MalformedBodyError."""
    tuning = read_tuning(answer)
    register = info._asdict()
    for name, codes in tuning.tensors.items():
        check_kind(codes, name, Kind.INTEGERS)
        check_range(codes, name, register[name].code_min, register[name].code_max)
    low, high, _ = info.readout_gain or (0, 0, 0.0)
    read_number(tuning.readout_gain, "readout_gain", low, high)
    check_tensor(tuning.adc_range, "adc_range", Kind.INTEGERS, tuple(tuning.adc_offset.shape[:1]))
    return tuning


def read_conversions(answer: Message, repeats: int, info: TuningInfo) -> Tensor:
    """Read ADC codes, of shape [repeat, tile, column]. Raises MalformedBodyError."""
    codes = answer.tensor("codes")
    check_kind(codes, "codes", Kind.INTEGERS)
    if codes.ndim != 3 or codes.shape[0] != repeats:
        raise MalformedBodyError(f"the codes of {repeats} repeats have shape {shown_shape(codes)}")
    check_range(codes, "codes", -info.adc_code_max, info.adc_code_max)
    return codes


def read_excitation(answer: Message, current: Tensor, repeats: int) -> Tensor:
    """Read spike counts, of shape [repeat, column]. Raises MalformedBodyError."""
    counts = answer.tensor("counts")
    check_kind(counts, "counts", Kind.INTEGERS)
    if tuple(counts.shape) != (repeats, *current.shape[1:]):
        raise MalformedBodyError(
            f"the counts of {repeats} repeats have shape {shown_shape(counts)}"
        )
    check_range(counts, "counts", 0, current.shape[0])
    return counts


def read_fractions(answer: Message, network: NetworkSpec | None) -> dict[str, Tensor]:
    """Read a fraction from 0 to 1 for each row of tiles of each layer. Raises MalformedBodyError.

    An older agent answers one number for each layer. The layers are those that the stimulus
    reaches.
    """
    parts = answer.field("parts", dict)
    known = None if network is None else [stage.name for stage in network.stages]
    if known is not None and not set(answer.tensors or parts) <= set(known):
        raise MalformedBodyError(other_layers(known))
    shown = {name: name if known else "a layer" for name in answer.tensors or parts}
    fractions = dict(answer.tensors) or {
        name: torch.tensor([float(read_number(part, f"fraction of {shown[name]}", 0, 1))])
        for name, part in parts.items()
    }
    for name, fraction in fractions.items():
        check_kind(fraction, shown[name], Kind.REALS)
        check_range(fraction, shown[name], 0, 1)
        if fraction.ndim != 1 or not len(fraction):
            shape = f"shape {shown_shape(fraction)}"
            raise MalformedBodyError(f"the fractions of {shown[name]} have {shape}")
    return fractions


def read_nothing(answer: Message) -> None:
    """Check that an answer is empty: the call is done. Raises MalformedBodyError."""
    if answer.fields or answer.tensors:
        raise MalformedBodyError("it holds something that was not asked for")


class _LayerReader:
    """Reads the tensors of one layer from a message."""

    def __init__(self, answer: Message, layer: str, steps: int, batch: int) -> None:
        self._answer, self._layer = answer, layer
        self._steps, self._batch = steps, batch

    def read(self, asked: Observable, stage: Stage | None) -> LayerRecording:
        """Read what was asked.

        Raises MalformedBodyError if a tensor is missing, extra or impossible.
        """
        names = self._expected(asked, stage)
        shape = stage.output_shape if stage is not None else self._shape_found(names)
        shown = {name: self._tensor(name, shape) for name in names}
        for name in set(LayerRecording._fields) - set(names):
            if self._has(name):
                raise MalformedBodyError(
                    f"it holds the {name} of layer '{self._layer}', which was not asked for"
                )
        return LayerRecording(**shown)

    def _expected(self, asked: Observable, stage: Stage | None) -> tuple[str, ...]:
        """Return the tensors that must be there; a chip may send counts beside the spikes."""
        spiking = self._has("counts") or self._has("spikes")
        is_readout = not spiking if stage is None else stage.is_readout
        if is_readout:
            return ("membrane",) if asked is Observable.MEMBRANE else ()
        if asked is Observable.COUNTS:
            return ("counts",)
        counts = ("counts",) if self._has("counts") else ()
        beside = () if asked is Observable.SPIKES else (asked.value,)
        return (*counts, "spikes", *beside)

    def _tensor(self, name: str, neurons: Shape) -> Tensor:
        key = f"{name}/{self._layer}"
        lead = (self._batch,) if name == "counts" else (self._steps, self._batch)
        kinds = {"counts": Kind.INTEGERS, "membrane": Kind.REALS}
        tensor = read_tensor(self._answer, key, kinds.get(name, Kind.BITS), (*lead, *neurons))
        if name == "counts":
            check_range(tensor, key, 0, self._steps)
        if name == "membrane":
            check_finite(tensor, key)
        return tensor

    def _shape_found(self, names: tuple[str, ...]) -> Shape:
        if not names:
            return ()
        first = self._answer.tensor(f"{names[0]}/{self._layer}")
        return tuple(first.shape[1 if names[0] == "counts" else 2 :])

    def _has(self, name: str) -> bool:
        return f"{name}/{self._layer}" in self._answer.tensors
