"""The drift score: how far a chip's answers to its fixed stimulus are from those of publication."""

import json
import math

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from ltl_core.calibration.drift import MeanFingerprint, drift_between, measure_fingerprint
from ltl_core.chip import LayerSettings, Placement
from ltl_core.errors import FingerprintError
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

DAY = 86_400.0  # s
NETWORK = NetworkSpec(
    input_shape=(32,),
    layers=(
        Linear(name="hidden", in_features=32, out_features=24),
        Linear(name="readout", in_features=24, out_features=6),
    ),
)


def answered(
    *layers: Tensor, noise: float | None = None, probes: int = 1, spread: float = 1.0
) -> MeanFingerprint:
    rates = {f"layer {place}": layer * spread for place, layer in enumerate(layers)}
    return MeanFingerprint(rates, noise and dict.fromkeys(rates, noise), probes, 0.0)  # type: ignore


def programmed(name: str, seed: int = 3) -> SimulatedChip:
    chip = make_chip("chip", preset(name), seed)
    settings = LayerSettings(threshold=120.0, decay=0.9, window=20.0, full_scale=900.0)
    chip.place(Placement(NETWORK, {"hidden": settings, "readout": settings}, 1.0))
    rng = torch.Generator().manual_seed(seed)
    for stage in NETWORK.stages:
        codes = torch.randint(-60, 61, (stage.columns, stage.rows), generator=rng)
        chip.program(stage.name, codes)
    chip.advance(60.0)
    return chip


def test_the_score_is_the_change_in_units_of_the_spread() -> None:
    then = answered(torch.tensor([0.1, 0.3, 0.5, 0.7]))  # their standard deviation is sqrt(0.05)
    now = answered(torch.tensor([0.2, 0.2, 0.6, 0.6]))
    assert drift_between(now, then).score == pytest.approx(0.1 / math.sqrt(0.05), rel=1e-6)


@pytest.mark.parametrize("spread", [0.5, 2.0])
def test_the_score_has_no_dimension(spread: float) -> None:
    then, now = torch.tensor([0.1, 0.3, 0.5]), torch.tensor([0.2, 0.3, 0.4])
    scaled = drift_between(answered(now, spread=spread), answered(then, spread=spread)).score
    assert scaled == pytest.approx(drift_between(answered(now), answered(then)).score, rel=1e-6)
    assert drift_between(answered(now, spread=spread), answered(then)).score != pytest.approx(
        scaled
    )


def test_layers_weigh_alike_however_wide() -> None:
    narrow, wide = torch.tensor([0.0, 1.0]), torch.tensor([0.0, 1.0] * 50)
    found = drift_between(answered(narrow + 0.3, wide), answered(narrow, wide))
    assert [layer.score for layer in found.layers] == pytest.approx([0.6, 0.0], abs=1e-6)
    assert found.score == pytest.approx(0.6 / math.sqrt(2), rel=1e-6)


def test_chance_alone_is_no_drift_on_average() -> None:
    rng = torch.Generator().manual_seed(0)
    rates, sd, probes = torch.rand(5000, generator=rng), 0.05, 4

    def probed(shift: float = 0.0) -> MeanFingerprint:
        seen = rates + shift + sd / math.sqrt(probes) * torch.randn(5000, generator=rng)
        return answered(seen, noise=sd**2, probes=probes)

    (layer,) = drift_between(probed(), probed()).layers
    assert layer.change == pytest.approx(sd * math.sqrt(2 / probes), rel=0.05)
    assert layer.score < 0.03  # without the noise taken off it is 0.12
    assert layer.change / layer.spread > 0.1
    (moved,) = drift_between(probed(shift=0.05), probed()).layers
    assert moved.score == pytest.approx(0.05 / moved.spread, rel=0.1)


def test_a_lone_probe_is_taken_to_be_as_noisy_as_the_other() -> None:
    rates = torch.tensor([0.2, 0.4])
    (layer,) = drift_between(answered(rates, noise=0.04, probes=4), answered(rates)).layers
    assert layer.noise == pytest.approx(math.sqrt(0.04 / 4 + 0.04), rel=1e-6)


def test_silent_columns_divide_by_no_zero() -> None:
    silent = torch.zeros(4)
    assert drift_between(answered(silent), answered(silent)).score == 0
    assert drift_between(answered(silent + 0.01), answered(silent)).score == pytest.approx(
        1.0, rel=1e-5
    )


def test_a_fingerprint_survives_json() -> None:
    kept = answered(torch.tensor([0.125, 0.5]), noise=0.01, probes=4)
    read = MeanFingerprint.from_json(json.loads(json.dumps(kept.to_json())))
    torch.testing.assert_close(read.rates, kept.rates)
    assert read[1:] == kept[1:]


@pytest.mark.parametrize(
    "broken", [{}, {"rates": [1.0], "chip_time_s": 0.0}, {"rates": {"a": "b"}, "chip_time_s": 0.0}]
)
def test_what_is_no_fingerprint_is_refused(broken: dict[str, object]) -> None:
    with pytest.raises(FingerprintError, match="cannot be read"):
        MeanFingerprint.from_json(broken)


def test_another_network_cannot_be_compared() -> None:
    with pytest.raises(FingerprintError, match="3 columns"):
        drift_between(answered(torch.zeros(2)), answered(torch.zeros(3)))
    with pytest.raises(FingerprintError, match="layer 1"):
        drift_between(answered(torch.zeros(2)), answered(torch.zeros(2), torch.zeros(2)))


@pytest.mark.parametrize("name", ["pcm", "hermes", "reram", "harsh"])
def test_a_chip_that_ages_drifts_and_one_that_was_just_probed_does_not(name: str) -> None:
    chip = programmed(name)
    published = measure_fingerprint(chip)
    scores = [drift_between(measure_fingerprint(chip), published).score]
    for seconds in (3600.0, DAY):
        chip.advance(seconds)
        scores.append(drift_between(measure_fingerprint(chip), published).score)
    at_once, hour, day = scores
    assert at_once < 0.03
    assert 0.03 < hour < day


def test_an_ideal_chip_stays_where_it_is() -> None:
    chip = programmed("ideal")
    published = measure_fingerprint(chip)
    chip.advance(365 * DAY)
    assert drift_between(measure_fingerprint(chip), published).score == 0


def test_probing_is_repeatable_but_for_the_chip_s_own_noise() -> None:
    quiet, noisy = (
        measure_fingerprint(programmed("ideal")),
        measure_fingerprint(programmed("harsh")),
    )
    assert quiet.noise is not None
    assert noisy.noise is not None
    assert max(quiet.noise.values()) == 0
    assert min(noisy.noise.values()) > 0
