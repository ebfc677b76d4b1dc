"""A chip's own calibration, by the criteria that calibrated silicon is held to."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.identity import layer_identity
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, NeuronSpec, RegisterSpec, TuningSpec
from chip_sim.tiling import tile_stage
from ltl_core.chip import ChipInfo, LayerCodes, LayerSettings, Placement, Register, Stimulus, Tuning
from ltl_core.errors import CorruptTensorsError, SettingError
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec
from ltl_core.packing import pack, unpack
from ltl_core.settings import TuneSettings
from ltl_core.tuning.result import Spread, Success, TunedLayer, check_spread, from_block, to_block
from ltl_core.tuning.search import lowest_codes, nearest_codes
from ltl_core.tuning.tuner import Tuner, TuningSetup

UNLIKE = ("pcm", "hermes", "reram", "harsh")
ROWS, COLUMNS = 300, 120  # on two rows of tiles
SETTINGS = TuneSettings(repeats=128, samples=16)


class Tuned(NamedTuple):
    """A chip, and what was found on it."""

    chip: SimulatedChip
    tuner: Tuner
    result: dict[str, TunedLayer]


def placement(decay: float = 0.9) -> Placement:
    layers = (
        Linear(name="hidden", in_features=ROWS, out_features=COLUMNS),
        Linear(name="readout", in_features=COLUMNS, out_features=4),
    )
    settings = LayerSettings(threshold=60.0, decay=decay, window=20.0, full_scale=240.0)
    network = NetworkSpec(input_shape=(ROWS,), layers=layers)
    return Placement(network, {"hidden": settings, "readout": settings}, 1.0)


def bench(
    spec: ChipSpec, decay: float = 0.9, kind: type[SimulatedChip] = SimulatedChip
) -> tuple[SimulatedChip, TuningSetup]:
    """Random codes, and trims that a calibration could have left."""
    chip, placed = kind("c", spec, 6), placement(decay)
    chip.place(placed)
    rng, codes = torch.Generator().manual_seed(1), {}
    for stage in placed.network.stages:
        weight = torch.randint(-9, 10, (stage.columns, stage.rows), generator=rng)
        threshold, bias = torch.randint(-40, 41, (2, stage.columns), generator=rng)
        codes[stage.name] = LayerCodes(weight, bias, threshold)
        chip.program(stage.name, weight)
        chip.trim(stage.name, threshold, bias)
    shown = torch.rand(SETTINGS.samples, ROWS, generator=rng)
    return chip, TuningSetup(chip, placed, codes, Stimulus(shown, 8))


def tune(spec: ChipSpec, decay: float = 0.9) -> Tuned:
    chip, on_bench = bench(spec, decay)
    tuner = Tuner(on_bench, SETTINGS)
    for _ in tuner.steps():
        pass
    return Tuned(chip, tuner, tuner.result)


@pytest.fixture(scope="module", params=UNLIKE)
def tuned(request: pytest.FixtureRequest) -> Tuned:
    return tune(preset(request.param))


def passes(tuned: Tuned) -> bool:
    return all(check.passed for check in tuned.tuner.check(tuned.result).values())


def test_circuits_are_alike_by_the_criteria_of_silicon(tuned: Tuned) -> None:
    hidden, readout = tuned.result["hidden"], tuned.result["readout"]
    assert max(hidden.after.adc_lsb, readout.after.adc_lsb) < 3 < hidden.before.adc_lsb
    assert hidden.before.threshold
    assert hidden.before.leak
    assert hidden.after.threshold is not None
    assert hidden.after.leak is not None
    assert hidden.after.threshold < 0.35 * hidden.before.threshold
    assert hidden.after.leak < 0.30 * hidden.before.leak
    assert readout.after.threshold is None


def test_the_check_fails_without_the_registers_and_passes_with_them(tuned: Tuned) -> None:
    assert passes(tuned)
    rng = torch.Generator().manual_seed(8)
    for overwrite in (
        torch.zeros_like,
        lambda codes: torch.randint(-6, 7, codes.shape, generator=rng, dtype=torch.int32),
    ):
        for name, layer in tuned.result.items():
            codes = [overwrite(part) for part in layer.tuning[:4]]
            ranges = torch.zeros_like(layer.tuning.adc_range)
            tuned.chip.tune(name, Tuning._make([*codes, ranges, 0]))
        checks = tuned.tuner.check(tuned.result)
        assert len(checks["hidden"].failures) == 3
    tuned.tuner.apply(from_block(to_block(tuned.result)))
    assert passes(tuned)


def test_a_search_alone_finds_registers_that_pass_the_check(tuned: Tuned) -> None:
    spec = ChipSpec.model_validate_json(bytes(tuned.chip.state()["spec"].tolist()))
    _, on_bench = bench(spec)
    tuner = Tuner(on_bench, SETTINGS)
    for _ in tuner.search():
        pass
    assert all(check.passed for check in tuner.check(tuned.result).values())
    with pytest.raises(SettingError, match="has not ended"):
        _ = tuner.result


def test_tuned_circuits_are_nominal_by_their_true_mismatch(tuned: Tuned) -> None:
    """Held against the mismatch that no bench can see."""
    spec = ChipSpec.model_validate_json(bytes(tuned.chip.state()["spec"].tolist()))
    stage = placement().network.stages[0]
    neuron = layer_identity(spec, 6, tile_stage(stage, spec, 0)).neuron
    hidden = tuned.result["hidden"]
    good = hidden.success.threshold
    threshold = 1 + neuron.threshold + 0.005 * hidden.tuning.threshold
    assert float((threshold[good] - 1).abs().max()) < 0.02
    assert float(neuron.threshold[good].abs().max()) > 0.1
    longer = (1 + neuron.leak) * (1 + 0.01 * hidden.tuning.leak)
    assert float((longer[hidden.success.leak] - 1).abs().max()) < 0.06


def test_dead_neurons_are_reported_and_left_alone(tuned: Tuned) -> None:
    spec = ChipSpec.model_validate_json(bytes(tuned.chip.state()["spec"].tolist()))
    stage = placement().network.stages[0]
    dead = layer_identity(spec, 6, tile_stage(stage, spec, 0)).neuron.dead
    hidden = tuned.result["hidden"]
    assert not hidden.success.threshold[dead].any()
    assert not hidden.success.leak[dead].any()
    assert not hidden.tuning.threshold[dead].any()
    assert hidden.success.threshold[~dead].float().mean() > 0.95


def test_the_trims_of_the_codes_are_set_again(tuned: Tuned) -> None:
    _, fresh = bench(preset("ideal"))
    trims = tuned.chip.state()
    for name, codes in fresh.codes.items():
        assert torch.equal(trims[f"layer/{name}/trim_bias"], codes.bias.int())
        assert torch.equal(trims[f"layer/{name}/trim_threshold"], codes.threshold.int())


def test_few_conversions_are_clipped_and_a_smaller_range_would_clip_more(tuned: Tuned) -> None:
    _, fresh = bench(preset("ideal"))
    found = tuned.chip.clipped(fresh.stimulus)
    for name, layer in tuned.result.items():
        assert layer.after.clipped is not None
        assert layer.success.adc_range.all()
        assert float(found[name].max()) <= 2 * SETTINGS.clipped_max  # with fresh read noise
        tuned.chip.tune(name, layer.tuning._replace(adc_range=layer.tuning.adc_range - 1))
    clipped = tuned.chip.clipped(fresh.stimulus)
    tuned.tuner.apply(tuned.result)
    assert float(clipped["hidden"].min()) > SETTINGS.clipped_max


def test_each_row_of_tiles_gets_the_range_of_its_own_sums(tuned: Tuned) -> None:
    """The first has 256 rows, the second 44."""
    wide, narrow = tuned.result["hidden"].tuning.adc_range.tolist()
    assert narrow < wide


def test_an_ideal_chip_is_left_as_it_is() -> None:
    tuned = tune(preset("ideal"))
    assert passes(tuned)
    for layer in tuned.result.values():
        assert max(int(codes.abs().max()) for codes in layer.tuning[:4]) <= 1  # without ranges
        assert sum(layer.success.failed.values()) == 0


def test_circuits_out_of_reach_are_reported() -> None:
    spec = ChipSpec(
        neuron=NeuronSpec(threshold_mismatch=0.1),
        tuning=TuningSpec(threshold=RegisterSpec(bits=4, lsb=0.005)),  # +-4 % only
    )
    success = tune(spec).result["hidden"].success
    neuron = layer_identity(spec, 6, tile_stage(placement().network.stages[0], spec, 0)).neuron
    assert not success.threshold[neuron.threshold.abs() > 0.07].any()
    assert success.threshold[neuron.threshold.abs() < 0.03].all()
    assert success.failed["threshold"] > 20


def test_neurons_that_never_forget_have_no_leak_to_tune() -> None:
    tuned = tune(preset("pcm"), decay=1.0)
    hidden = tuned.result["hidden"]
    assert hidden.after.leak is None
    assert not hidden.tuning.leak.any()
    assert passes(tuned)


def test_rolling_back_puts_the_registers_of_before_in_place() -> None:
    chip, on_bench = bench(preset("pcm"))
    before = chip.tuning("hidden")
    ranges = before.adc_range + 2
    before = before._replace(threshold=before.threshold + 3, adc_range=ranges, readout_gain=5)
    chip.tune("hidden", before)
    tuner = Tuner(on_bench, SETTINGS)
    steps = tuner.steps()
    for _ in range(3):
        next(steps)
    assert not torch.equal(chip.tuning("hidden").threshold, before.threshold)
    tuner.roll_back()
    found = chip.tuning("hidden")
    assert all(map(torch.equal, found.tensors.values(), before.tensors.values()))
    assert found.readout_gain == 5
    with pytest.raises(SettingError, match="not ended"):
        _ = tuner.result


def test_registers_of_another_network_are_refused() -> None:
    chip, on_bench = bench(preset("ideal"))
    tuner = Tuner(on_bench, SETTINGS)
    codes = chip.tuning("hidden")
    with pytest.raises(SettingError, match="other"):
        tuner.apply({"other": TunedLayer(codes, None, None, None)})  # type: ignore[arg-type]


def test_an_earlier_block_has_one_range_for_all_rows_of_tiles() -> None:
    _, on_bench = bench(preset("ideal"))
    tuning = on_bench.chip.tuning("hidden")  # type: ignore[attr-defined]
    good = torch.ones(1, dtype=torch.bool)
    earlier = TunedLayer(
        tuning._replace(adc_range=torch.tensor(-3)),
        Success(good, good.clone(), good.clone(), torch.tensor(False)),
        Spread(1.0, None, None),
        Spread(1.0, None, None),
    )
    tensors, about = unpack(to_block({"hidden": earlier}))
    del tensors["hidden.tuning.readout_gain"]
    read = from_block(pack(tensors, about))["hidden"]
    assert read.tuning.adc_range.tolist() == [-3, -3]
    assert read.tuning.readout_gain == 0
    assert read.success.failed["adc_range"] == 1


class OneRange(SimulatedChip):
    """Has one range for each layer, and answers as an older agent does."""

    @property
    def info(self) -> ChipInfo:
        info = super().info
        assert info.tuning is not None
        return info._replace(tuning=info.tuning._replace(range_by_tile=False))

    def clipped(self, stimulus: Stimulus) -> dict[str, Tensor]:
        return {
            name: part.mean(0, keepdim=True) for name, part in super().clipped(stimulus).items()
        }


def test_a_chip_with_one_range_for_a_layer_is_tuned_by_the_whole_layer() -> None:
    chip, on_bench = bench(preset("ideal"), kind=OneRange)
    tuner = Tuner(on_bench, SETTINGS)
    for _ in tuner.steps():
        pass
    hidden = tuner.result["hidden"]
    wide, narrow = hidden.tuning.adc_range.tolist()
    assert wide == narrow < 0
    assert hidden.success.adc_range.tolist() == [True]
    assert float(chip.clipped(on_bench.stimulus)["hidden"]) <= SETTINGS.clipped_max


def test_a_block_that_holds_no_registers_is_refused() -> None:
    with pytest.raises(CorruptTensorsError):
        from_block(b"no block")
    with pytest.raises(CorruptTensorsError):
        from_block(to_block({}).replace(b"tuned", b"other"))


@pytest.mark.parametrize("seed", range(3))
def test_the_search_finds_what_trying_every_code_finds(seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    register, zero = Register(-16, 15, 0.1), 12 * torch.randn(50, generator=rng)
    codes = torch.arange(-16, 16)
    best = codes[(codes[:, None] - zero).abs().argmin(0)]
    assert torch.equal(nearest_codes(register, (50,), lambda code: code - zero).codes, best)
    first = torch.tensor([next((c for c in range(-16, 16) if c >= z), 15) for z in zero.tolist()])
    assert torch.equal(lowest_codes(register, (50,), lambda code: code - zero).codes, first)


def test_a_spread_within_one_code_is_good_enough() -> None:
    info = make_chip("c", ChipSpec(), 1).info.tuning
    assert info is not None
    before = Spread(0.5, 0.001, 0.001)
    assert check_spread(Spread(0.5, 0.004, 0.009), before, info).passed
    assert len(check_spread(Spread(3.5, 0.006, 0.011), before, info).failures) == 3
