"""A streamed answer: each frame is checked, read once, and passed on as soon as it arrives."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from chip_sim.chip import SimulatedChip
from chip_sim.presets import preset
from ltl_core.chip import LayerRecording, Observable, Placement, Stimulus
from ltl_core.errors import ChipUnavailableError
from service.bench.driver.http_chip import HttpChip
from tests.agents import serve_agent
from tests.calls import IMAGES, RECORD
from tests.proxies import (
    Proxy,
    Tamper,
    cut_off,
    ended_early,
    from_another_server,
    in_frame,
    with_field,
    with_flipped_bit,
    with_nan,
    with_tensor,
    without_frame,
    without_frames,
)

WRONG_FRAMES: dict[str, tuple[Tamper, str]] = {
    "spikes of another shape": (
        in_frame(0, with_tensor("spikes/hidden", lambda t: t[:, :, :3])),
        "spikes/hidden",
    ),
    "a membrane that is no number": (in_frame(1, with_tensor("membrane/readout", with_nan)), "NaN"),
    "another layer": (
        in_frame(0, with_field("layer", "attic")),
        "next frame is not of layer 'hidden'",
    ),
    "a layer too few": (without_frame(0), "next frame is not of layer 'hidden'"),
    "a layer too few at the end": (without_frame(1), "lacks the str 'layer'"),
    "no end": (without_frame(2), "does not end with one frame"),
    "a clock that goes back": (in_frame(2, with_field("chip_time_s", 0.0)), "clock went back"),
}


@pytest.mark.parametrize(("tamper", "reason"), WRONG_FRAMES.values(), ids=WRONG_FRAMES.keys())
def test_an_impossible_frame_is_refused(
    chip: HttpChip, proxy: Proxy, tamper: Tamper, reason: str
) -> None:
    assert chip.now() > 0
    assert list(dict(chip.iter_layers(IMAGES, RECORD))) == list(RECORD)
    proxy.tamper("tell_layers", tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer.*{reason}"):
        list(chip.iter_layers(IMAGES, RECORD))


@pytest.mark.parametrize("damage", [with_flipped_bit, from_another_server, cut_off, ended_early])
def test_frames_after_the_damage_are_asked_for_again(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    before = chip.now()
    proxy.tamper("tell_layers", damage, times=2)
    asked = proxy.calls
    layers = list(chip.iter_layers(IMAGES, RECORD))
    assert [layer for layer, _ in layers] == list(RECORD)
    assert proxy.calls == asked + 3
    assert chip.now() == pytest.approx(before + 12 * 5 * chip.info.time_step, rel=1e-12)
    proxy.tamper("tell_layers", damage)
    with pytest.raises(ChipUnavailableError, match="answers of its agent to 'tell_layers' break"):
        list(chip.iter_layers(IMAGES, RECORD))


def test_a_repeated_answer_that_differs_is_refused(chip: HttpChip, proxy: Proxy) -> None:
    proxy.tamper("tell_layers", cut_off, times=1)
    layers = chip.iter_layers(IMAGES, RECORD)
    next(layers)
    proxy.tamper("tell_layers", in_frame(0, with_tensor("spikes/hidden", lambda t: ~t)))
    with pytest.raises(ChipUnavailableError, match="repeated answer differs"):
        list(layers)


def test_a_repeated_answer_that_is_shorter_is_asked_for_again(chip: HttpChip, proxy: Proxy) -> None:
    proxy.tamper("tell_layers", cut_off, times=1)
    layers = chip.iter_layers(IMAGES, RECORD)
    assert next(layers)[0] == "hidden"
    proxy.tamper("tell_layers", without_frames, times=1)
    assert [layer for layer, _ in layers] == ["readout"]
    proxy.tamper("tell_layers", cut_off, times=1)
    layers = chip.iter_layers(IMAGES, RECORD)
    next(layers)
    proxy.tamper("tell_layers", without_frames)
    with pytest.raises(ChipUnavailableError, match="ends before the frames read so far"):
        next(layers)


def test_an_answer_that_is_closed_early_is_dropped(chip: HttpChip) -> None:
    layers = chip.iter_layers(IMAGES, RECORD)
    next(layers)
    layers.close()
    before = chip.now()
    list(chip.iter_layers(IMAGES, RECORD))
    assert chip.now() > before


class Hesitant(SimulatedChip):
    """Waits before the second layer until `may_go_on` is set; fails there if `breaks` is set."""

    def __init__(self) -> None:
        super().__init__("bench-1", preset("pcm"), 7)
        self.may_go_on = threading.Event()
        self.breaks = False

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        for number, one in enumerate(super().iter_layers(stimulus, record)):
            if number and not self.may_go_on.wait(10.0):
                raise ChipUnavailableError("bench-1", "its first layer did not arrive")
            if number and self.breaks:
                raise ChipUnavailableError("bench-1", "its supply broke down")
            yield one


def test_a_layer_arrives_before_the_next_is_known(tmp_path: Path, placement: Placement) -> None:
    hesitant = Hesitant()
    with serve_agent(tmp_path, hesitant) as agent, agent.drive() as chip:
        chip.place(placement)
        layers = chip.iter_layers(IMAGES, RECORD)
        assert next(layers)[0] == "hidden"
        hesitant.may_go_on.set()
        assert next(layers)[0] == "readout"
        assert list(layers) == []


def test_what_breaks_between_two_layers_reaches_the_job(
    tmp_path: Path, placement: Placement
) -> None:
    hesitant = Hesitant()
    hesitant.breaks = True
    hesitant.may_go_on.set()
    with serve_agent(tmp_path, hesitant) as agent, agent.drive() as chip:
        chip.place(placement)
        before = chip.now()
        layers = chip.iter_layers(IMAGES, RECORD)
        assert next(layers)[0] == "hidden"
        with pytest.raises(ChipUnavailableError, match="its supply broke down"):
            next(layers)
        hesitant.breaks = False
        assert len(list(chip.iter_layers(IMAGES, RECORD))) == 2
        assert chip.now() > before
