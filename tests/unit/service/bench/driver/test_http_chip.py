"""The driver: asks again where that may help, and believes nothing that no chip could mean."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from chip_sim.chip import make_chip
from chip_sim.presets import preset
from ltl_core.chip import Placement, Stimulus
from ltl_core.errors import ChipUnavailableError
from service.bench.driver.http_chip import HttpChip, open_http_chip
from tests.agents import serve_agent
from tests.proxies import (
    DAMAGES,
    Proxy,
    Tamper,
    cut,
    driven,
    drop,
    in_chunks,
    late,
    lie,
    put,
    refusing,
    say,
    trickling,
    with_hole,
    without_reason,
)
from tests.unit.service.bench.calls import CODES, IMAGES, LAYER, RECORD
from tests.unit.service.bench.conftest import Overheard

RUN_LIES: dict[str, tuple[Tamper, str]] = {
    "counts of another shape": (put("counts/hidden", lambda t: t[:4]), "counts/hidden.*shape"),
    "spikes of another shape": (put("spikes/hidden", lambda t: t[:, :, :3]), "spikes/hidden"),
    "spikes of one step more": (
        put("spikes/hidden", lambda t: torch.cat((t, t[:1]))),
        r"shape \[13, 5, 4\], not \[12, 5, 4\]",
    ),
    "counts as reals": (put("counts/hidden", lambda t: t.float()), "float32, not integers"),
    "spikes as bytes": (put("spikes/hidden", lambda t: t.to(torch.uint8)), "uint8, not bits"),
    "flags as reals": (put("window/hidden", lambda t: t.float()), "not bits"),
    "membranes as integers": (put("membrane/readout", lambda t: t.int()), "int32, not reals"),
    "more spikes than steps": (put("counts/hidden", lambda t: t + 13), "range 0 to 12"),
    "fewer spikes than none": (put("counts/hidden", lambda t: t - 13), "range 0 to 12"),
    "a membrane that is no number": (put("membrane/readout", with_hole), "NaN or infinite"),
    "an infinite membrane": (put("membrane/readout", lambda t: t / 0), "NaN or infinite"),
    "no spikes": (drop("spikes/hidden"), "lacks the tensor 'spikes/hidden'"),
    "no flags": (drop("window/hidden"), "lacks the tensor 'window/hidden'"),
    "a readout that fires": (
        lie(lambda _f, tensors: tensors.update({"counts/readout": tensors["counts/hidden"]})),
        "counts of layer 'readout', which was not asked for",
    ),
    "a layer too many": (say("layers", ["hidden", "readout", "attic"]), "holds layers"),
    "a layer too few": (say("layers", ["hidden"]), "holds layers"),
    "no layers": (say("layers", None), "lacks the list 'layers'"),
    "a clock that is no number": (say("chip_time_s", float("nan")), "chip_time_s is nan"),
    "a clock of words": (say("chip_time_s", "late"), "chip_time_s is 'late'"),
    "a clock that goes back": (say("chip_time_s", 0.0), "clock went back"),
}


@pytest.mark.parametrize(("tamper", "reason"), RUN_LIES.values(), ids=RUN_LIES.keys())
def test_an_impossible_recording_is_not_believed(
    chip: HttpChip, proxy: Proxy, tamper: Tamper, reason: str
) -> None:
    assert chip.now() > 0
    chip.run(IMAGES, RECORD)
    proxy.tamper("run", tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer to 'run'.*{reason}") as lied:
        chip.run(IMAGES, RECORD)
    assert lied.value.chip_id == "bench-1"


OTHER_LIES: dict[str, tuple[str, Tamper, str]] = {
    "a map of another shape": ("program", put("failed", lambda t: t.T), "failed.*shape"),
    "a map of reals": ("program", put("failed", lambda t: t.float()), "not bits"),
    "more cells than there are": ("program", say("cells", 25), "cells is 25"),
    "fewer pulses than none": ("program", say("pulses", -1), "pulses is -1"),
    "cells in parts": ("program", say("cells", 1.5), "lacks the int 'cells'"),
    "a layer written too few": ("write", say("written", {}), "holds layers"),
    "a map too many": (
        "write",
        lie(lambda _f, tensors: tensors.update({"attic": tensors["hidden"]})),
        "holds layers",
    ),
    "a written map of another shape": ("write", put("hidden", lambda t: t.T), "failed.*shape"),
    "more written cells than there are": (
        "write",
        say("written", {"hidden": [25, 0]}),
        "cells is 25",
    ),
    "no pulses": ("write", say("written", {"hidden": [1]}), "cells and pulses of layer 'hidden'"),
    "a layer without a rate": ("probe", drop("readout"), "holds layers"),
    "rates of another shape": ("probe", put("hidden", lambda t: t[:2]), "hidden.*shape"),
    "rates above one": ("probe", put("hidden", lambda t: t + 2), "range 0 to 1"),
    "a rate that is no number": ("probe", put("readout", lambda t: t * torch.nan), "NaN"),
    "an infinite clock": ("now", say("chip_time_s", float("inf")), "chip_time_s is inf"),
    "a register out of range": (
        "tuning",
        put("threshold", lambda t: t + 10_000),
        "threshold.*leaves the range",
    ),
    "a register of reals": ("tuning", put("leak", lambda t: t.float()), "float32, not integers"),
    "a full scale out of range": ("tuning", say("adc_range", 10_000), "adc_range is 10000"),
    "conversions too few": ("convert", put("codes", lambda t: t[:1]), "codes of 2 repeats"),
    "a code that no converter has": ("convert", put("codes", lambda t: t + 10_000), "codes.*range"),
    "excitations too few": ("excite", put("counts", lambda t: t[:1]), "counts of 2 repeats"),
    "more excited spikes than steps": ("excite", put("counts", lambda t: t + 13), "range 0 to 12"),
    "a fraction above one": ("clipped", say("parts", {"hidden": 2.0}), "hidden is 2.0"),
    "an answer where none is due": ("trim", say("thanks", True), "was not asked for"),
}


@pytest.mark.parametrize(("verb", "tamper", "reason"), OTHER_LIES.values(), ids=OTHER_LIES.keys())
def test_no_other_impossible_answer_is_believed(
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
    proxy.tamper("info", lie(lambda fields, _t: fields["info"].update({name: value})))
    with pytest.raises(ChipUnavailableError, match="'info'"), driven(proxy):
        pass


def test_a_chip_without_registers_is_not_tuned(proxy: Proxy) -> None:
    proxy.tamper("info", lie(lambda fields, _t: fields["info"].update({"tuning": None})))
    with (
        driven(proxy) as chip,
        pytest.raises(ChipUnavailableError, match="'tuning': it has no registers"),
    ):
        chip.tuning("hidden")


def test_layers_are_written_in_one_call(chip: HttpChip, proxy: Proxy) -> None:
    asked = proxy.asked
    assert chip.write({"hidden": LAYER})["hidden"].cells == 0
    assert proxy.asked == asked + 1


def test_an_agent_of_before_is_asked_as_it_was(shared: Overheard, proxy: Proxy) -> None:
    del shared  # the network stands there
    proxy.tamper("info", lie(lambda fields, _t: fields.pop("verbs")))
    with driven(proxy) as chip:
        asked = proxy.asked
        assert chip.write({"hidden": LAYER})["hidden"].cells == 0
        assert proxy.asked == asked + 2
        assert list(dict(chip.iter_layers(IMAGES, RECORD))) == list(RECORD)
        assert proxy.asked == asked + 3


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_answer_is_asked_for_again_and_the_call_is_done_once(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    before = chip.now()
    expected = before + 12 * 5 * chip.info.time_step
    proxy.tamper("run", damage, times=2)
    asked = proxy.asked
    recording = chip.run(IMAGES, RECORD)
    assert proxy.asked == asked + 3
    assert recording.chip_time == pytest.approx(expected, rel=1e-12)
    assert chip.now() == recording.chip_time


@pytest.mark.parametrize("damage", DAMAGES)
def test_an_agent_whose_answers_stay_damaged_is_given_up(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    proxy.tamper("run", damage)
    with pytest.raises(ChipUnavailableError, match="answers of its agent to 'run' break off"):
        chip.run(IMAGES, RECORD)


@pytest.mark.parametrize("verb", ["run", "tell_layers"])
@pytest.mark.parametrize("delay", [late, trickling])
def test_an_answer_beyond_the_deadline_is_given_up(
    chip: HttpChip, proxy: Proxy, delay: Tamper, verb: str
) -> None:
    assert chip.now() > 0  # the network stands there already
    with driven(proxy, answer_s=2.0) as hurried:
        proxy.tamper(verb, delay)
        with pytest.raises(ChipUnavailableError, match=f"did not answer to '{verb}' in time"):
            list(hurried.iter_layers(IMAGES, RECORD)) if verb == "tell_layers" else hurried.run(
                IMAGES, RECORD
            )


def assert_same(expected: torch.Tensor | None, found: torch.Tensor | None) -> None:
    assert expected is not None
    assert found is not None
    assert torch.equal(expected, found)


def test_a_call_that_was_damaged_on_its_way_is_sent_again(chip: HttpChip, proxy: Proxy) -> None:
    asked = proxy.asked
    proxy.tamper("now", refusing("Content-Digest"), times=2)
    assert chip.now() >= 0
    assert proxy.asked == asked + 3


def test_a_refusal_without_a_reason_is_not_believed(chip: HttpChip, proxy: Proxy) -> None:
    proxy.tamper("now", without_reason)
    with pytest.raises(ChipUnavailableError, match="status 500 comes without a reason"):
        chip.now()


def test_large_calls_and_answers_arrive_whole(tmp_path: Path, placement: Placement) -> None:
    many = Stimulus(torch.rand(10_000, 6, generator=torch.Generator().manual_seed(2)), 12)
    local = make_chip("bench-1", preset("pcm"), 7)
    with serve_agent(tmp_path) as agent, agent.drive() as remote:
        for chip in (local, remote):
            chip.place(placement)
            chip.program("hidden", CODES)
        in_one = dict(local.run(many, RECORD).layers), dict(remote.run(many, RECORD).layers)
        in_frames = dict(local.run(many, RECORD).layers), dict(remote.iter_layers(many, RECORD))
    for expected, found in (in_one, in_frames):
        assert_same(expected["hidden"].spikes, found["hidden"].spikes)
        assert_same(expected["hidden"].window, found["hidden"].window)
        assert_same(expected["readout"].membrane, found["readout"].membrane)


def test_calls_share_one_connection(chip: HttpChip, proxy: Proxy) -> None:
    chip.now()
    lines = proxy.lines
    for _ in range(5):
        chip.now()
    assert proxy.lines == lines
    proxy.tamper("tell_layers", in_chunks)
    for _ in range(3):
        list(chip.iter_layers(IMAGES, RECORD))
    assert proxy.lines == lines
    proxy.tamper("now", cut, times=1)
    chip.now()
    assert proxy.lines == lines + 1


def test_an_agent_that_is_gone_is_given_up(tmp_path: Path) -> None:
    with serve_agent(tmp_path, reach_s=0.2) as agent:
        chip = open_http_chip("bench-1", agent.address, 1)
    with pytest.raises(ChipUnavailableError, match="cannot be reached"):
        chip.now()
    chip.close()


def test_a_wrong_secret_is_told_as_such(proxy: Proxy) -> None:
    address = proxy.agent.address.model_copy(update={"secret": "another one"})
    with pytest.raises(ChipUnavailableError, match="refused: send the agent's secret"):
        open_http_chip("bench-1", address, 1)


def test_no_secret_is_shown_where_an_address_is(proxy: Proxy) -> None:
    assert proxy.agent.address.secret not in repr(proxy.agent.address)
