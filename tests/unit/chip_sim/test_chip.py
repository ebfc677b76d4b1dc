"""The whole chip: against an independent reference, and over time."""

from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chip_sim.chip import make_chip
from chip_sim.errors import (
    LayerSettingError,
    NegativeTimeError,
    NoDataError,
    NotPlacedError,
)
from chip_sim.presets import NAMES, PAPER, preset
from chip_sim.spec import ChipSpec, ConverterSpec, DeviceSpec
from ltl_core.chip import LayerSettings, Observable, Placement, Stimulus
from ltl_core.errors import NonFiniteError
from tests.unit.chip_sim.conftest import Build
from tests.unit.chip_sim.stimuli import EVERYTHING, STEPS, counts, images, membrane

YEAR = 365 * 86400.0


class Reference:
    """The network of these tests written out by hand: 8-bit inputs, 12-bit sums of eight rows."""

    def __init__(self, codes: Mapping[str, Tensor], threshold: float = 60.0) -> None:
        self._codes = {layer: weight.double() for layer, weight in codes.items()}
        self._threshold = threshold

    def readout(self, values: Tensor) -> Tensor:
        pixels = (values.double() * 127).round() / 127
        rows = F.unfold(pixels, 3, padding=1)
        sums = self._convert("first", rows).view(-1, 6, 6, 6)
        spikes = self._fire([sums] * STEPS)
        pooled = [F.avg_pool2d(step, 2) for step in spikes]
        spikes = self._fire([self._convert("second", F.unfold(step, 2)) for step in pooled])
        flat = [step.reshape(-1, 20, 1) for step in spikes]
        spikes = self._fire([self._convert("third", step) for step in flat])
        return torch.stack([self._convert("readout", step) for step in spikes]).cumsum(0)[..., 0]

    def _convert(self, layer: str, rows: Tensor) -> Tensor:
        total, lsb = torch.zeros(()), 200.0 / 2047
        for at in range(0, rows.shape[1], 8):
            part = self._codes[layer][:, at : at + 8] @ rows[:, at : at + 8]
            total = total + (part / lsb).round().clamp(-2047, 2047) * lsb
        return total

    def _fire(self, sums: list[Tensor]) -> list[Tensor]:
        potential = spikes = torch.zeros_like(sums[0])
        seen = []
        for current in sums:
            potential = 0.9 * potential * (1 - spikes) + current
            spikes = (potential > self._threshold).double()
            seen.append(spikes)
        return seen


SLICED = ChipSpec(tile_rows=8, tile_columns=4)


def disagreement(build: Build, codes: Mapping[str, Tensor], threshold: float) -> float:
    stimulus = images()
    shown = membrane(build(SLICED).run(stimulus, EVERYTHING), "readout").double()
    expected = Reference(codes, threshold).readout(stimulus.values)
    return float((shown - expected).abs().max())


def test_an_ideal_chip_agrees_with_a_reference_written_by_hand(
    build: Build, codes: dict[str, Tensor]
) -> None:
    assert disagreement(build, codes, threshold=60.0) < 0.01


@pytest.mark.parametrize("wrong", [0.95, 1.05])
def test_a_threshold_five_percent_off_would_be_seen(
    build: Build, codes: dict[str, Tensor], wrong: float
) -> None:
    assert disagreement(build, codes, threshold=60.0 * wrong) > 1.0


def test_an_ideal_chip_shows_the_same_by_every_observable(build: Build) -> None:
    chip = build(preset("ideal"))
    by = {o: chip.run(images(), {"second": o}).layers["second"] for o in Observable}
    spikes, potential = by[Observable.MEMBRANE].spikes, by[Observable.MEMBRANE].membrane
    assert spikes is not None
    assert potential is not None
    for shown in (by[Observable.SPIKES].spikes, by[Observable.WINDOW].spikes):
        assert shown is not None
        assert torch.equal(shown, spikes)
    seen = by[Observable.COUNTS].counts
    assert seen is not None
    assert torch.equal(seen, spikes.sum(0).int())
    flags = by[Observable.WINDOW].window
    assert flags is not None
    assert torch.equal(flags, (potential - 60.0).abs() < 20.0)
    assert torch.equal(spikes, potential > 60.0)


def test_an_ideal_chip_is_the_same_after_a_year(build: Build) -> None:
    chip = build(preset("ideal"))
    before = counts(chip)
    chip.settle(YEAR)
    assert torch.equal(counts(chip), before)


@pytest.mark.parametrize("name", [*NAMES, *PAPER])
def test_same_seed_same_chip_on_one_thread_or_two(build: Build, name: str) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        one = build(preset(name)).run(images(64), EVERYTHING)
        torch.set_num_threads(2)
        two = build(preset(name)).run(images(64), EVERYTHING)
    finally:
        torch.set_num_threads(threads)
    for layer in EVERYTHING:
        assert torch.equal(membrane(one, layer), membrane(two, layer))


def test_another_seed_is_another_chip(build: Build) -> None:
    one, two = (build(preset("pcm"), seed).weights("second") for seed in (1, 2))
    assert not torch.equal(one, two)


@pytest.mark.parametrize("name", ["pcm", "hermes", "reram"])
def test_reading_twice_at_one_instant_gives_the_same_weights(build: Build, name: str) -> None:
    chip = build(preset(name))
    chip.settle(3600.0)
    assert torch.equal(chip.weights("second"), chip.weights("second"))


def test_weights_shrink_with_time(build: Build) -> None:
    chip = build(preset("hermes"))
    early = chip.weights("third").abs().sum()
    chip.settle(YEAR)
    assert 0.5 < float(chip.weights("third").abs().sum() / early) < 0.9


def test_rewriting_a_cell_restarts_only_that_cell(build: Build, codes: dict[str, Tensor]) -> None:
    chip = build(preset("hermes"))
    chip.settle(YEAR)
    aged = chip.weights("third")
    changed = codes["third"].clone()
    changed[2, 3] = 60 if int(changed[2, 3]) != 60 else 61
    assert chip.program("third", changed).cells == 1
    now = chip.weights("third")
    assert float(now[2, 3]) == pytest.approx(60, abs=12)
    now[2, 3] = aged[2, 3]
    torch.testing.assert_close(now, aged, rtol=0, atol=0.01)


@pytest.mark.parametrize("name", ["pcm", "harsh"])
def test_programming_what_is_there_changes_nothing(
    build: Build, codes: dict[str, Tensor], name: str
) -> None:
    chip = build(preset(name))
    chip.run(images(2), EVERYTHING)
    before = chip.state()
    report = chip.program("third", codes["third"])
    assert (report.cells, report.pulses, bool(report.failed.any())) == (0, 0, False)
    assert all(torch.equal(tensor, before[name]) for name, tensor in chip.state().items())
    assert chip.program("third", codes["third"].neg()).cells > 0
    assert not torch.equal(chip.state()["rng"], before["rng"])


def test_a_pair_that_keeps_its_sign_writes_one_device(build: Build) -> None:
    chip = build(preset("harsh"))
    positive = torch.full((7, 20), 30)
    chip.program("third", positive)
    before = chip.wear("third")
    report = chip.program("third", positive + 1)
    assert (report.cells, report.pulses) == (140, 140)
    grown = chip.wear("third") - before
    assert (int(grown[0].sum()), int(grown[1].sum())) == (140, 0)


def test_wear_stays_with_the_place_when_another_network_comes(
    build: Build, placement: Placement
) -> None:
    chip = build(preset("harsh"))
    before = chip.wear("first")
    chip.place(placement._replace(input_full_scale=2.0))
    assert torch.equal(chip.wear("first"), before + 1)


def test_stuck_cells_are_reported_when_writes_are_verified(build: Build) -> None:
    device = DeviceSpec(model="pcm", stuck=0.2)
    chip = build(preset("pcm").model_copy(update={"device": device}))
    report = chip.program("third", torch.full((7, 20), -31))
    share = float(report.failed.float().mean())
    assert share == pytest.approx(0.2, abs=0.1)


def test_read_noise_at_the_readout_has_its_spread(build: Build) -> None:
    spec = ChipSpec(device=DeviceSpec(read_noise=0.01), converter=ConverterSpec(adc_bits=16))
    spikes = torch.ones(200, 64, 7)
    shown = build(spec).run(Stimulus(spikes, 200, "readout"), {"readout": Observable.MEMBRANE})
    steps = torch.diff(membrane(shown, "readout"), dim=0)
    expected = 0.01 * 63 * 2**0.5 * 7**0.5
    assert float(steps.std((0, 1)).mean()) == pytest.approx(expected, rel=0.015)
    assert float(steps.std((0, 1)).mean()) != pytest.approx(expected * 1.05, rel=0.015)


def test_the_clock_counts_steps_samples_and_pulses(build: Build) -> None:
    chip = build(preset("harsh"))
    before = chip.now()
    counts(chip)
    assert chip.now() - before == pytest.approx(1e-5 * STEPS * 9)
    before = chip.now()
    report = chip.program("first", torch.full((6, 18), 17))
    assert chip.now() - before == pytest.approx(1e-6 * report.pulses)


def test_time_cannot_go_back(build: Build) -> None:
    with pytest.raises(NegativeTimeError, match="zero or more"):
        build(preset("ideal")).settle(-1.0)


def test_nan_in_a_stimulus_is_refused(build: Build) -> None:
    values = images().values.clone()
    values[0, 0, 0, 0] = torch.nan
    with pytest.raises(NonFiniteError):
        build(preset("ideal")).run(Stimulus(values, STEPS), {"first": Observable.COUNTS})


def test_a_layer_below_the_stimulus_cannot_be_recorded(build: Build) -> None:
    spikes = Stimulus(torch.zeros(STEPS, 2, 7), STEPS, "readout")
    with pytest.raises(NotPlacedError, match="first"):
        build(preset("ideal")).run(spikes, {"first": Observable.COUNTS})


def test_an_empty_chip_says_so() -> None:
    with pytest.raises(NotPlacedError):
        make_chip("x", preset("ideal"), 1).run(images(), {"first": Observable.COUNTS})


@pytest.mark.parametrize(
    "wrong",
    [
        {"threshold": 0.0},
        {"full_scale": -1.0},
        {"decay": 1.5},
        {"window": float("nan")},
    ],
)
def test_registers_that_no_circuit_holds_are_refused(
    placement: Placement, wrong: dict[str, float]
) -> None:
    settings: LayerSettings = placement.layers["second"]._replace(**wrong)
    layers = {**placement.layers, "second": settings}
    with pytest.raises(LayerSettingError, match="second"):
        make_chip("x", preset("ideal"), 1).place(placement._replace(layers=layers))


def test_a_preset_is_not_asked_beyond_its_data(build: Build) -> None:
    chip = build(preset("reram"))
    chip.settle(2 * 86400.0 - 60)
    chip.weights("second")
    chip.settle(120.0)
    before = chip.now()
    with pytest.raises(NoDataError, match="write them again") as caught:
        counts(chip)
    assert chip.now() == before
    assert caught.value.known_until == 2 * 86400.0


def test_a_chip_may_be_told_to_hold_its_last_published_spread(build: Build) -> None:
    spec = preset("reram")
    held = spec.model_copy(update={"device": spec.device.model_copy(update={"after_data": "hold"})})
    chip = build(held)
    chip.settle(3 * 86400.0)
    late = chip.weights("second")
    chip.settle(YEAR)
    assert torch.equal(chip.weights("second"), late)
