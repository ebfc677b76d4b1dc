"""A chip saved and restored is the same chip."""

import pytest
import torch
from safetensors.torch import load, save

from chip_sim.chip import make_chip
from chip_sim.errors import ForeignStateError
from chip_sim.presets import NAMES, preset
from ltl_core.chip import Placement
from tests.unit.chip_sim.conftest import Build
from tests.unit.chip_sim.stimuli import EVERYTHING, counts, images, membrane


@pytest.mark.parametrize("name", NAMES)
def test_a_restored_chip_answers_bit_for_bit(build: Build, name: str) -> None:
    chip = build(preset(name))
    chip.trim("third", torch.full((7,), 3), torch.full((7,), -2))
    chip.run(images(), EVERYTHING)
    twin = make_chip("bench-1", preset(name), 5)
    twin.restore(load(save(chip.state())))
    for each in (chip, twin):
        each.settle(100.0)
        each.program("first", torch.full((6, 18), 17))
    one, two = chip.run(images(), EVERYTHING), twin.run(images(), EVERYTHING)
    for layer in EVERYTHING:
        assert torch.equal(membrane(one, layer), membrane(two, layer))
    assert torch.equal(chip.wear("first"), twin.wear("first"))
    assert chip.now() == twin.now()


def test_an_empty_chip_can_be_saved(placement: Placement) -> None:
    twin = make_chip("x", preset("pcm"), 1)
    twin.restore(make_chip("x", preset("pcm"), 1).state())
    twin.place(placement)
    assert set(twin.probe().rates) == set(EVERYTHING)


@pytest.mark.parametrize(("name", "seed"), [("hermes", 5), ("pcm", 6)])
def test_the_state_of_another_chip_is_refused(build: Build, name: str, seed: int) -> None:
    state = build(preset("pcm")).state()
    with pytest.raises(ForeignStateError):
        make_chip("bench-1", preset(name), seed).restore(state)


def test_a_saved_state_does_not_change_with_the_chip(build: Build) -> None:
    chip = build(preset("pcm"))
    state = chip.state()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    chip.settle(50.0)
    chip.program("first", torch.full((6, 18), 17))
    counts(chip)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
