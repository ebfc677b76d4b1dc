"""Answers that no chip can give are refused, with the field or tensor that is wrong."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ltl_core.errors import ChipUnavailableError
from service.bench.driver.http_chip import HttpChip
from tests.calls import CODES, IMAGES, LAYER, RECORD
from tests.proxies import (
    Proxy,
    Tamper,
    drive_through,
    with_changes,
    with_field,
    with_nan,
    with_tensor,
    without_tensor,
)

WRONG_RECORDINGS: dict[str, tuple[Tamper, str]] = {
    "counts of another shape": (
        with_tensor("counts/hidden", lambda t: t[:4]),
        "counts/hidden.*shape",
    ),
    "spikes of another shape": (
        with_tensor("spikes/hidden", lambda t: t[:, :, :3]),
        "spikes/hidden",
    ),
    "spikes of one step more": (
        with_tensor("spikes/hidden", lambda t: torch.cat((t, t[:1]))),
        r"shape \[13, 5, 4\], not \[12, 5, 4\]",
    ),
    "counts as reals": (with_tensor("counts/hidden", lambda t: t.float()), "float32, not integers"),
    "spikes as bytes": (
        with_tensor("spikes/hidden", lambda t: t.to(torch.uint8)),
        "uint8, not bits",
    ),
    "flags as reals": (with_tensor("window/hidden", lambda t: t.float()), "not bits"),
    "membranes as integers": (
        with_tensor("membrane/readout", lambda t: t.int()),
        "int32, not reals",
    ),
    "more spikes than steps": (with_tensor("counts/hidden", lambda t: t + 13), "range 0 to 12"),
    "fewer spikes than none": (with_tensor("counts/hidden", lambda t: t - 13), "range 0 to 12"),
    "a membrane that is no number": (with_tensor("membrane/readout", with_nan), "NaN or infinite"),
    "an infinite membrane": (with_tensor("membrane/readout", lambda t: t / 0), "NaN or infinite"),
    "no spikes": (without_tensor("spikes/hidden"), "lacks the tensor 'spikes/hidden'"),
    "no flags": (without_tensor("window/hidden"), "lacks the tensor 'window/hidden'"),
    "a readout that fires": (
        with_changes(
            lambda _f, tensors: tensors.update({"counts/readout": tensors["counts/hidden"]})
        ),
        "counts of layer 'readout', which was not asked for",
    ),
    "a layer too many": (with_field("layers", ["hidden", "readout", "attic"]), "holds layers"),
    "a layer too few": (with_field("layers", ["hidden"]), "holds layers"),
    "no layers": (with_field("layers", None), "lacks the list 'layers'"),
    "a clock that is no number": (with_field("chip_time_s", float("nan")), "chip_time_s is nan"),
    "a clock of words": (with_field("chip_time_s", "late"), "chip_time_s is of type str"),
    "a clock that goes back": (with_field("chip_time_s", 0.0), "clock went back"),
}


@pytest.mark.parametrize(
    ("tamper", "reason"), WRONG_RECORDINGS.values(), ids=WRONG_RECORDINGS.keys()
)
def test_an_impossible_recording_is_refused(
    chip: HttpChip, proxy: Proxy, tamper: Tamper, reason: str
) -> None:
    assert chip.now() > 0
    chip.run(IMAGES, RECORD)
    proxy.tamper("run", tamper)
    with pytest.raises(
        ChipUnavailableError, match=f"impossible answer to 'run'.*{reason}"
    ) as refused:
        chip.run(IMAGES, RECORD)
    assert refused.value.chip_id == "bench-1"


def one_range(code: int) -> Tamper:
    """Answer as an older agent, with one range for the layer."""

    def change(fields: dict[str, Any], tensors: dict[str, Any]) -> None:
        fields["adc_range"] = code
        del tensors["adc_range"]

    return with_changes(change)


def one_fraction(fraction: float) -> Tamper:
    """Answer as an older agent, with one fraction for the layer."""

    def change(fields: dict[str, Any], tensors: dict[str, Any]) -> None:
        fields["parts"] = {"hidden": fraction}
        tensors.clear()

    return with_changes(change)


WRONG_ANSWERS: dict[str, tuple[str, Tamper, str]] = {
    "a map of another shape": ("program", with_tensor("failed", lambda t: t.T), "failed.*shape"),
    "a map of reals": ("program", with_tensor("failed", lambda t: t.float()), "not bits"),
    "more cells than there are": ("program", with_field("cells", 25), "cells is 25"),
    "fewer pulses than none": ("program", with_field("pulses", -1), "pulses is -1"),
    "cells in parts": ("program", with_field("cells", 1.5), "lacks the int 'cells'"),
    "a layer written too few": ("write", with_field("written", {}), "holds layers"),
    "a map too many": (
        "write",
        with_changes(lambda _f, tensors: tensors.update({"attic": tensors["hidden"]})),
        "holds layers",
    ),
    "a written map of another shape": (
        "write",
        with_tensor("hidden", lambda t: t.T),
        "failed.*shape",
    ),
    "more written cells than there are": (
        "write",
        with_field("written", {"hidden": [25, 0]}),
        "cells is 25",
    ),
    "no pulses": (
        "write",
        with_field("written", {"hidden": [1]}),
        "cells and pulses of layer 'hidden'",
    ),
    "a layer without a rate": ("probe", without_tensor("readout"), "holds layers"),
    "rates of another shape": ("probe", with_tensor("hidden", lambda t: t[:2]), "hidden.*shape"),
    "rates above one": ("probe", with_tensor("hidden", lambda t: t + 2), "range 0 to 1"),
    "a rate that is no number": ("probe", with_tensor("readout", lambda t: t * torch.nan), "NaN"),
    "an infinite clock": ("now", with_field("chip_time_s", float("inf")), "chip_time_s is inf"),
    "a register out of range": (
        "tuning",
        with_tensor("threshold", lambda t: t + 10_000),
        "threshold.*leaves the range",
    ),
    "a register of reals": (
        "tuning",
        with_tensor("leak", lambda t: t.float()),
        "float32, not integers",
    ),
    "a full scale out of range": (
        "tuning",
        with_tensor("adc_range", lambda t: t + 10_000),
        "adc_range.*leaves the range",
    ),
    "a full scale too many": (
        "tuning",
        with_tensor("adc_range", lambda t: torch.cat((t, t))),
        "adc_range.*shape",
    ),
    "an older agent's full scale out of range": (
        "tuning",
        one_range(10_000),
        "adc_range.*leaves the range",
    ),
    "a gain of the readout out of range": (
        "tuning",
        with_field("readout_gain", 10_000),
        "readout_gain is 10000",
    ),
    "a full scale that no register holds": (
        "tuning",
        one_range(1 << 40),
        "which no register holds",
    ),
    "conversions too few": ("convert", with_tensor("codes", lambda t: t[:1]), "codes of 2 repeats"),
    "a code that no converter has": (
        "convert",
        with_tensor("codes", lambda t: t + 10_000),
        "codes.*range",
    ),
    "excitations too few": (
        "excite",
        with_tensor("counts", lambda t: t[:1]),
        "counts of 2 repeats",
    ),
    "more excited spikes than steps": (
        "excite",
        with_tensor("counts", lambda t: t + 13),
        "range 0 to 12",
    ),
    "a fraction above one": ("clipped", with_tensor("hidden", lambda t: t + 2), "range 0 to 1"),
    "a fraction of no row of tiles": ("clipped", with_tensor("hidden", lambda t: t[:0]), "shape"),
    "an older agent's fraction above one": (
        "clipped",
        one_fraction(2.0),
        "hidden is 2.0",
    ),
    "an answer where none is due": ("trim", with_field("thanks", True), "was not asked for"),
}


@pytest.mark.parametrize(
    ("verb", "tamper", "reason"), WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys()
)
def test_any_other_impossible_answer_is_refused(
    chip: HttpChip, proxy: Proxy, verb: str, tamper: Tamper, reason: str
) -> None:
    asked: dict[str, Callable[[], object]] = {
        "program": lambda: chip.program("hidden", CODES),
        "write": lambda: chip.write({"hidden": LAYER}),
        "probe": chip.probe,
        "now": chip.now,
        "tuning": lambda: chip.tuning("hidden"),
        "convert": lambda: chip.convert("hidden", 0.5, 2),
        "excite": lambda: chip.excite("hidden", torch.zeros(12, 4), 2),
        "clipped": lambda: chip.clipped(IMAGES),
        "trim": lambda: chip.trim("hidden", LAYER.threshold, LAYER.bias),
    }
    asked[verb]()
    proxy.tamper(verb, tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer to '{verb}'.*{reason}"):
        asked[verb]()


@pytest.mark.parametrize(
    ("name", "value"),
    [("tile_rows", 0), ("weight_code_max", "63"), ("observables", ["smell"]), ("time_step", 0.0)],
)
def test_a_chip_that_cannot_be_is_not_driven(proxy: Proxy, name: str, value: object) -> None:
    proxy.tamper("info", with_changes(lambda fields, _t: fields["info"].update({name: value})))
    with pytest.raises(ChipUnavailableError, match="'info'"), drive_through(proxy):
        pass


def test_a_chip_without_registers_is_not_tuned(proxy: Proxy) -> None:
    proxy.tamper("info", with_changes(lambda fields, _t: fields["info"].update({"tuning": None})))
    with (
        drive_through(proxy) as chip,
        pytest.raises(ChipUnavailableError, match="'tuning': it has no registers"),
    ):
        chip.tuning("hidden")
