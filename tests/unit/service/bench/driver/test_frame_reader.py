"""An answer in pieces: each believed, heard once, and passed on as soon as it is there."""

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
from tests.proxies import (
    Proxy,
    Tamper,
    cut,
    ended_early,
    garbled,
    in_piece,
    of_a_stranger,
    put,
    say,
    with_hole,
    without,
)
from tests.unit.service.bench.calls import IMAGES, RECORD

PIECES_LIES: dict[str, tuple[Tamper, str]] = {
    "spikes of another shape": (
        in_piece(0, put("spikes/hidden", lambda t: t[:, :, :3])),
        "spikes/hidden",
    ),
    "a membrane that is no number": (in_piece(1, put("membrane/readout", with_hole)), "NaN"),
    "another layer": (in_piece(0, say("layer", "attic")), "next frame is not of layer 'hidden'"),
    "a layer too few": (without(0), "next frame is not of layer 'hidden'"),
    "a layer too few at the end": (without(1), "lacks the str 'layer'"),
    "no end": (without(2), "does not end with one frame"),
    "a clock that goes back": (in_piece(2, say("chip_time_s", 0.0)), "clock went back"),
}


@pytest.mark.parametrize(("tamper", "reason"), PIECES_LIES.values(), ids=PIECES_LIES.keys())
def test_an_impossible_piece_is_not_believed(
    chip: HttpChip, proxy: Proxy, tamper: Tamper, reason: str
) -> None:
    assert chip.now() > 0
    assert list(dict(chip.iter_layers(IMAGES, RECORD))) == list(RECORD)
    proxy.tamper("tell_layers", tamper)
    with pytest.raises(ChipUnavailableError, match=f"impossible answer.*{reason}"):
        list(chip.iter_layers(IMAGES, RECORD))


@pytest.mark.parametrize("damage", [garbled, of_a_stranger, cut, ended_early])
def test_pieces_after_the_damage_are_asked_for_again(
    chip: HttpChip, proxy: Proxy, damage: Tamper
) -> None:
    before = chip.now()
    proxy.tamper("tell_layers", damage, times=2)
    asked = proxy.asked
    layers = list(chip.iter_layers(IMAGES, RECORD))
    assert [layer for layer, _ in layers] == list(RECORD)
    assert proxy.asked == asked + 3
    assert chip.now() == pytest.approx(before + 12 * 5 * chip.info.time_step, rel=1e-12)
    proxy.tamper("tell_layers", damage)
    with pytest.raises(ChipUnavailableError, match="answers of its agent to 'tell_layers' break"):
        list(chip.iter_layers(IMAGES, RECORD))


def test_an_answer_does_not_go_on_with_another_story(chip: HttpChip, proxy: Proxy) -> None:
    proxy.tamper("tell_layers", cut, times=1)
    layers = chip.iter_layers(IMAGES, RECORD)
    next(layers)
    proxy.tamper("tell_layers", in_piece(0, put("spikes/hidden", lambda t: ~t)))
    with pytest.raises(ChipUnavailableError, match="repeated answer differs"):
        list(layers)


def test_an_answer_that_nobody_wants_to_the_end_is_left(chip: HttpChip) -> None:
    layers = chip.iter_layers(IMAGES, RECORD)
    next(layers)
    layers.close()
    before = chip.now()
    list(chip.iter_layers(IMAGES, RECORD))
    assert chip.now() > before


class Hesitant(SimulatedChip):
    """Goes on to the second layer when it may, and then does as it is told."""

    def __init__(self) -> None:
        super().__init__("bench-1", preset("pcm"), 7)
        self.may_go_on = threading.Event()
        self.breaks = False

    def iter_layers(
        self, stimulus: Stimulus, record: Mapping[str, Observable]
    ) -> Iterator[tuple[str, LayerRecording]]:
        for number, layers in enumerate(super().iter_layers(stimulus, record)):
            if number and not self.may_go_on.wait(10.0):
                raise ChipUnavailableError("bench-1", "nobody heard its first layer")
            if number and self.breaks:
                raise ChipUnavailableError("bench-1", "its supply broke down")
            yield layers


def test_a_layer_is_heard_before_the_next_is_known(tmp_path: Path, placement: Placement) -> None:
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
