"""What every chip promises, simulator or silicon. No promise depends on how perfect the chip is."""

import math

import pytest
import torch

from ltl_core.default_probe import probe_chip
from ltl_core.optional_verbs import run_by_layer
from tandemcal.backend import (
    CapacityError,
    ChipBackend,
    LayerSettings,
    LayerShapeError,
    Observable,
    Placement,
    Stimulus,
    UnsupportedLayerError,
)
from tandemcal.network import NetworkSpec
from tandemcal.testing.small_network import (
    BATCH,
    HIDDEN,
    SHAPES,
    STEPS,
    images,
    mean_counts,
    program_all,
    show,
)


def test_a_chip_says_what_it_is(chip: ChipBackend) -> None:
    info = chip.info
    assert info.chip_id
    assert min(info.tile_rows, info.tile_columns, info.tiles, info.weight_code_max) > 0
    assert info.trim_code_min <= 0 <= info.trim_code_max
    assert info.trim_lsb > 0
    assert info.time_step > 0
    assert Observable.COUNTS in info.observables


def test_a_network_that_is_too_large_changes_nothing(
    chip: ChipBackend, placement: Placement, oversized: Placement
) -> None:
    chip.place(placement)
    codes = program_all(chip, placement)
    with pytest.raises(CapacityError) as caught:
        chip.place(oversized)
    assert caught.value.needed > caught.value.available == chip.info.tiles
    assert chip.program("hidden", codes["hidden"]).cells == 0


def test_a_layer_that_the_chip_cannot_hold_is_named(chip: ChipBackend) -> None:
    shape = {"kind": "conv2d", "in_channels": 2, "out_channels": 2, "kernel": [1, 1]}
    layers = [
        {**shape, "name": "first"},
        {**shape, "name": "second", "fires": False},
        {"kind": "add", "name": "sum", "inputs": ["first", "second"]},
        {"kind": "linear", "name": "readout", "in_features": 2, "out_features": 2},
    ]
    network = NetworkSpec.model_validate({"input_shape": (2, 1, 1), "layers": layers})
    settings = LayerSettings(60.0, 0.9, 20.0, 240.0)
    placed = {stage.name: settings for stage in network.stages}
    with pytest.raises(UnsupportedLayerError, match="sum"):
        chip.place(Placement(network, placed, 1.0))


def test_layers_are_told_in_the_order_of_the_network(
    chip: ChipBackend, placement: Placement
) -> None:
    chip.place(placement)
    program_all(chip, placement)
    has_spikes = Observable.SPIKES in chip.info.observables
    hidden = Observable.SPIKES if has_spikes else Observable.COUNTS
    record = {"conv": hidden, "readout": Observable.MEMBRANE}
    before, shown = chip.now(), dict(run_by_layer(chip, Stimulus(images(), STEPS), record))
    took = chip.now() - before
    whole = show(chip, record).layers
    assert list(shown) == list(whole) == ["conv", "readout"]
    if has_spikes:
        assert shown["conv"].spikes is not None
        assert shown["conv"].spikes.shape == (STEPS, BATCH, *SHAPES["conv"])
    else:
        assert shown["conv"].counts is not None
    assert shown["readout"].membrane is not None
    assert shown["readout"].membrane.shape == (STEPS, BATCH, *SHAPES["readout"])
    assert took == pytest.approx(STEPS * BATCH * chip.info.time_step, rel=1e-9)


def test_a_caller_may_reuse_its_tensors(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    codes = program_all(chip, placement)["hidden"]
    kept = codes.clone()
    codes.zero_()
    assert chip.program("hidden", kept).cells == 0
    shown, stimulus = images(), images()
    chip.run(Stimulus(stimulus, STEPS), {"conv": Observable.COUNTS})
    assert torch.equal(shown, stimulus)


@pytest.mark.parametrize("observable", list(Observable))
def test_every_observable_has_its_shapes(
    chip: ChipBackend, placement: Placement, observable: Observable
) -> None:
    if observable not in chip.info.observables:
        pytest.skip(f"the chip does not show {observable}")
    chip.place(placement)
    program_all(chip, placement)
    recording = show(chip, dict.fromkeys(HIDDEN, observable))
    assert set(recording.layers) == set(HIDDEN)
    for layer in HIDDEN:
        shown, steps = recording.layers[layer], (STEPS, BATCH, *SHAPES[layer])
        if observable is Observable.COUNTS:
            assert shown.counts is not None
            assert shown.counts.shape == steps[1:]
            assert shown.spikes is None
            assert int(shown.counts.min()) >= 0
            assert int(shown.counts.max()) <= STEPS
            continue
        assert shown.spikes is not None
        assert shown.spikes.shape == steps
        assert shown.spikes.dtype == torch.bool
        assert shown.counts is None or torch.equal(shown.counts, shown.spikes.sum(0).int())
        assert (shown.window is not None) == (observable is Observable.WINDOW)
        assert (shown.membrane is not None) == (observable is Observable.MEMBRANE)


def test_the_network_is_not_silent(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    program_all(chip, placement)
    assert 0.02 < float(mean_counts(chip).mean()) / STEPS < 0.98


def test_a_readout_shows_a_running_sum_and_never_fires(
    chip: ChipBackend, placement: Placement
) -> None:
    chip.place(placement)
    codes = torch.full((3, 8), chip.info.weight_code_max)
    chip.program("readout", codes)
    spikes = torch.ones(STEPS, BATCH, 8)
    shown = chip.run(Stimulus(spikes, STEPS, "readout"), {"readout": Observable.MEMBRANE})
    membrane = shown.layers["readout"].membrane
    assert shown.layers["readout"].spikes is None
    assert shown.layers["readout"].counts is None
    assert membrane is not None
    assert membrane.shape == (STEPS, BATCH, 3)
    steps = torch.diff(membrane.mean((1, 2)))
    assert float(steps.min()) > 0
    assert float(steps.max() / steps.min()) < 1.2


def test_spikes_played_into_a_layer_reach_it(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    program_all(chip, placement)
    quiet, busy = (
        chip.run(
            Stimulus(torch.full((STEPS, BATCH, 4, 4, 4), level), STEPS, "hidden"),
            {"hidden": Observable.COUNTS},
        )
        .layers["hidden"]
        .counts
        for level in (0.0, 1.0)
    )
    assert quiet is not None
    assert busy is not None
    assert float(busy.float().mean()) > float(quiet.float().mean())


def test_a_stimulus_of_another_shape_is_refused(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    for stimulus in (
        Stimulus(torch.zeros(BATCH, 1, 5, 6), STEPS),
        Stimulus(torch.zeros(STEPS, BATCH, 9), STEPS, "hidden"),
        Stimulus(torch.zeros(STEPS - 1, BATCH, 4, 4, 4), STEPS, "hidden"),
    ):
        with pytest.raises(LayerShapeError):
            chip.run(stimulus, {"hidden": Observable.COUNTS})


def test_a_probe_twice_is_close(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    program_all(chip, placement)
    one, two = probe_chip(chip, placement), probe_chip(chip, placement)
    assert set(one.rates) == set(SHAPES)
    for layer in HIDDEN:
        assert one.rates[layer].shape == (SHAPES[layer][0],)
        assert float((one.rates[layer] - two.rates[layer]).abs().max()) < 0.05


def test_a_probe_sees_other_weights(chip: ChipBackend, placement: Placement) -> None:
    chip.place(placement)
    codes = program_all(chip, placement)
    before = probe_chip(chip, placement).rates["hidden"]
    chip.program("hidden", -codes["hidden"])
    after = probe_chip(chip, placement).rates["hidden"]
    assert float((after - before).abs().max()) > 0.05


def test_the_clock_never_goes_back(chip: ChipBackend, placement: Placement) -> None:
    times = [chip.now()]
    chip.place(placement)
    times.append(chip.now())
    program_all(chip, placement)
    times.append(chip.now())
    recording = show(chip, {"conv": Observable.COUNTS})
    assert recording.chip_time == chip.now()
    times.append(chip.now())
    chip.settle(3600.0)
    times.append(chip.now())
    assert times == sorted(times)
    assert times[3] > times[2]
    assert math.isclose(times[4] - times[3], 3600.0, rel_tol=0.01)
