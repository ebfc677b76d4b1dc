"""The four non-idealities of the LTL paper, against closed forms and moments."""

import math

import pytest
import torch
from torch import Tensor

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.layer_run import neurons
from chip_sim.paper import time_constant
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, NeuronSpec, PaperSpec
from ltl_core.chip import LayerRecording, LayerSettings, Observable, Placement, Stimulus
from ltl_core.network.layers import Linear
from ltl_core.network.spec import NetworkSpec

ROWS, COLUMNS, STEPS = 40, 500, 8
DECAY, THRESHOLD = 0.8, 60.0
P = 0.2  # strength of a chip in these tests
NETWORK = NetworkSpec(
    input_shape=(ROWS,),
    layers=(
        Linear(name="first", in_features=ROWS, out_features=COLUMNS),
        Linear(name="second", in_features=COLUMNS, out_features=30),
        Linear(name="readout", in_features=30, out_features=10),
    ),
)


def chip_of(spec: ChipSpec, *, window: float = 20.0, threshold: float = THRESHOLD) -> SimulatedChip:
    """A chip of wide columns, on which all codes are zero."""
    chip = make_chip("bench-1", spec, seed=5)
    settings = LayerSettings(threshold, DECAY, window, full_scale=63.0 * ROWS)
    chip.place(Placement(NETWORK, {stage.name: settings for stage in NETWORK.stages}, 1.0))
    return chip


def paper(**fields: float) -> ChipSpec:
    return preset("ideal").model_copy(
        update={
            "converter": preset("paper-mismatch").converter,
            "paper": PaperSpec.model_validate(fields),
        }
    )


def program(chip: SimulatedChip, layer: str, code: int) -> None:
    columns, rows = chip.weights(layer).shape
    chip.program(layer, torch.full((columns, rows), code))


def played(chip: SimulatedChip, inputs: Tensor, layer: str, what: Observable) -> LayerRecording:
    return chip.run(Stimulus(inputs, STEPS), {layer: what}).layers[layer]


def membrane(chip: SimulatedChip, inputs: Tensor, layer: str = "first") -> Tensor:
    shown = played(chip, inputs, layer, Observable.MEMBRANE).membrane
    assert shown is not None
    return shown


def flags(chip: SimulatedChip, inputs: Tensor) -> Tensor:
    shown = played(chip, inputs, "first", Observable.WINDOW).window
    assert shown is not None
    return shown


def assert_normal(values: Tensor, mean: float, sd: float) -> None:
    """Mean within 4 standard errors, sd within 4 of its own, and the kurtosis of a normal."""
    values, count = values.double().flatten(), values.numel()
    assert float(values.mean()) == pytest.approx(mean, abs=4 * sd / math.sqrt(count))
    assert float(values.std()) == pytest.approx(sd, rel=4 / math.sqrt(2 * count))
    fourth = float(((values - mean) / sd).pow(4).mean())
    assert fourth == pytest.approx(3, abs=4 * math.sqrt(96 / count))


def test_every_weight_has_a_factor_of_its_own_drawn_once_for_the_chip() -> None:
    chip = chip_of(paper(mismatch=P))
    program(chip, "first", 63)
    factors = chip.weights("first") / 63
    assert_normal(factors, 1, P)
    with pytest.raises(AssertionError):
        assert_normal(factors, 1, P * 1.05)
    program(chip, "first", -63)
    assert torch.equal(chip.weights("first") / -63, factors)
    other = chip_of(paper(mismatch=P))
    program(other, "first", 21)
    torch.testing.assert_close(other.weights("first") / 21, factors, rtol=0, atol=2**-10 / 21)


def biases(chip: SimulatedChip, layer: str) -> Tensor:
    """The bias of every column as a multiple of what its trim asks for."""
    columns = len(chip.weights(layer))
    code = torch.full((columns,), 64)
    chip.trim(layer, code * 0, code)
    asked = 64 * chip.info.trim_lsb * THRESHOLD
    return membrane(chip, torch.zeros(1, ROWS), layer)[0, 0] / asked


def test_every_bias_has_a_factor_of_its_own_the_readouts_too() -> None:
    chip = chip_of(paper(mismatch=P))
    assert_normal(biases(chip, "first"), 1, P)
    found = torch.cat([biases(chip, layer) for layer in ("first", "second", "readout")])
    assert len(set(found.tolist())) == len(found)
    plain = chip_of(paper(silencing=P))
    for layer in ("first", "readout"):
        assert torch.equal(biases(plain, layer), torch.ones(len(plain.weights(layer))))


def test_the_whole_network_has_one_time_constant() -> None:
    chip = chip_of(paper(mismatch=P))
    factor = time_constant(paper(mismatch=P), 5)
    assert factor != pytest.approx(1, abs=0.01)
    for layer in ("first", "second"):
        decays = neurons(chip._layers[layer], chip._spec, chip.temperature()).decay
        expected = torch.full_like(decays, DECAY ** (1 / factor))
        torch.testing.assert_close(decays, expected)
    program(chip, "first", 1)
    spikes = torch.zeros(STEPS, 1, ROWS)
    spikes[0] = 1
    stimulus = Stimulus(spikes, STEPS, "first")
    shown = chip.run(stimulus, {"first": Observable.MEMBRANE}).layers["first"].membrane
    assert shown is not None
    torch.testing.assert_close(shown[1], shown[0] * DECAY ** (1 / factor))
    own = chip_of(preset("pcm"))._layers["first"].identity.neuron.leak
    assert float(own.std()) > 0.04


@pytest.mark.parametrize("p", [P, 1.0])
def test_the_time_constant_is_a_folded_normal_number(p: float) -> None:
    drawn = torch.tensor([time_constant(paper(mismatch=p), seed) for seed in range(2000)])
    mean = p * math.sqrt(2 / math.pi) * math.exp(-1 / (2 * p * p)) + math.erf(1 / (p * 2**0.5))
    sd = math.sqrt(1 + p * p - mean * mean)
    assert float(drawn.min()) >= 0
    assert float(drawn.mean()) == pytest.approx(mean, abs=4 * sd / math.sqrt(2000))
    assert float(drawn.std()) == pytest.approx(sd, rel=0.08)
    assert float(drawn.std()) != pytest.approx(1.2 * sd, rel=0.08)


def test_mismatch_leaves_thresholds_and_resets_as_they_are() -> None:
    chip, harsh = (chip_of(spec) for spec in (paper(mismatch=0.4), preset("harsh")))
    found, own = (
        neurons(one._layers["first"], one._spec, one.temperature()) for one in (chip, harsh)
    )
    assert torch.equal(found.threshold, torch.full((COLUMNS,), THRESHOLD))
    assert not found.after_spike.any()
    assert float(own.threshold[own.threshold.isfinite()].std()) > 0.1 * THRESHOLD


def test_the_window_is_drawn_anew_for_each_neuron_in_each_run() -> None:
    silent = torch.zeros(3, ROWS)  # every membrane is one threshold below the threshold
    chip = chip_of(paper(mismatch=P), window=THRESHOLD / 0.9)
    first, second = flags(chip, silent), flags(chip, silent)
    assert torch.equal(first, first[:1, :1].expand_as(first))  # one window in all steps and samples
    runs = torch.stack([flags(chip, silent)[0, 0] for _ in range(20)]).double()
    expected = 0.5 * (1 + math.erf(0.1 / P / 2**0.5))  # of w (1 + p N) > 0.9 w
    error = math.sqrt(expected * (1 - expected) / runs.numel())
    assert float(runs.mean()) == pytest.approx(expected, abs=4 * error)
    agreement = float((first[0, 0] == second[0, 0]).double().mean())
    chance = expected**2 + (1 - expected) ** 2
    assert agreement == pytest.approx(chance, abs=4 * math.sqrt(chance / COLUMNS))
    exact = chip_of(paper(thermal_noise=P), window=THRESHOLD / 0.9)
    assert flags(exact, silent).all()


def test_thermal_noise_multiplies_what_enters_a_layer() -> None:
    chip = chip_of(paper(thermal_noise=P), threshold=1e5)
    program(chip, "first", 63)
    image = torch.rand(200, ROWS, generator=torch.Generator().manual_seed(1))
    sums = membrane(chip, image)[..., 0]  # all columns see the same rows
    added = torch.cat((sums[:1], sums[1:] - DECAY * sums[:-1]))
    spread = P * 63 * image.square().sum(1).sqrt()
    noise = (added - 63 * image.sum(1)) / spread
    assert_normal(noise, 0, 1)
    with pytest.raises(AssertionError):
        assert_normal(noise * 1.1, 0, 1)
    # Anew in each step and sample.
    for one, other in ((noise[1:], noise[:-1]), (noise[:, 1:], noise[:, :-1])):
        pair = torch.stack((one.flatten(), other.flatten()))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 4 / math.sqrt(one.numel())


def test_thermal_noise_leaves_a_zero_at_zero() -> None:
    chip = chip_of(paper(thermal_noise=0.4))
    additive = preset("ideal").model_copy(update={"neuron": NeuronSpec(thermal_noise=0.4)})
    program(chip, "first", 63)
    assert not membrane(chip, torch.zeros(2, ROWS)).any()
    assert membrane(chip_of(additive), torch.zeros(2, ROWS)).all()


def of_spikes(chip: SimulatedChip, layer: str, rows: int) -> Tensor:
    """Membranes of a layer that gets a spike on each row in each step."""
    stimulus = Stimulus(torch.ones(STEPS, 5, rows), STEPS, layer)
    shown = chip.run(stimulus, {layer: Observable.MEMBRANE}).layers[layer].membrane
    assert shown is not None
    return shown


def test_thermal_noise_enters_hidden_layers_and_not_the_readout() -> None:
    chip = chip_of(paper(thermal_noise=P))
    for layer in ("second", "readout"):
        program(chip, layer, 10)
    hidden, readout = of_spikes(chip, "second", COLUMNS)[0], of_spikes(chip, "readout", 30)[0]
    assert float(hidden[:, 0].std()) > 0.5 * P * 10 * math.sqrt(COLUMNS)
    torch.testing.assert_close(readout, torch.full_like(readout, 300.0), rtol=0, atol=0.2)


def silenced(chip: SimulatedChip) -> tuple[Tensor, Tensor]:
    """Spikes and membranes of neurons whose input is above the threshold in each step."""
    program(chip, "first", 63)
    image = torch.full((40, ROWS), 0.03)
    shown = played(chip, image, "first", Observable.MEMBRANE)
    assert shown.spikes is not None
    assert shown.membrane is not None
    return shown.spikes.double(), shown.membrane.double()


@pytest.mark.parametrize("p", [0.05, 0.4])
def test_each_spike_is_deleted_with_this_probability(p: float) -> None:
    spikes, membranes = silenced(chip_of(paper(silencing=p)))
    assert bool((membranes > THRESHOLD).all())  # each would fire in each step
    error = math.sqrt(p * (1 - p) / spikes.numel())
    assert float(spikes.mean()) == pytest.approx(1 - p, abs=4 * error)
    assert float(spikes.mean()) != pytest.approx(1 - 1.05 * p, abs=4 * error)
    for one, other in ((spikes[1:], spikes[:-1]), (spikes[:, 1:], spikes[:, :-1])):
        pair = torch.stack((one.flatten(), other.flatten()))
        assert abs(float(torch.corrcoef(pair)[0, 1])) < 4 / math.sqrt(one.numel())


def test_a_deleted_spike_does_not_reset_the_membrane() -> None:
    spikes, membranes = silenced(chip_of(paper(silencing=0.4)))
    current = membranes[0, 0, 0]
    kept = DECAY * membranes[:-1] * (1 - spikes[:-1])
    torch.testing.assert_close(membranes[1:], kept + current, rtol=1e-5, atol=1e-3)
    with pytest.raises(AssertionError):  # as if each crossing reset the membrane
        torch.testing.assert_close(membranes[1:], current.expand_as(membranes[1:]))


def test_the_gradient_of_a_deleted_spike_is_masked() -> None:
    wide = {"window": 1e6}  # every flag is on, but for those that are masked
    chip = chip_of(paper(silencing=P), **wide)
    program(chip, "first", 63)
    shown = played(chip, torch.full((40, ROWS), 0.03), "first", Observable.WINDOW)
    assert shown.window is not None
    assert shown.spikes is not None
    assert torch.equal(shown.window, shown.spikes)
    below = flags(chip, torch.zeros(40, ROWS))  # no neuron is at its threshold
    assert float(below.double().mean()) == pytest.approx(1 - P, abs=0.005)
    assert flags(chip_of(paper(), **wide), torch.zeros(40, ROWS)).all()


@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6])
def test_weights_have_so_many_bits(bits: int) -> None:
    chip = chip_of(paper(weight_bits=bits))
    codes = torch.randint(-63, 64, (COLUMNS, ROWS), generator=torch.Generator().manual_seed(3))
    chip.program("first", codes)
    found, top = chip.weights("first"), 2 ** (bits - 1) - 1
    expected = (codes * top / 63).round() * 63 / top
    torch.testing.assert_close(found, expected, rtol=0, atol=2**-10)
    assert len(found.unique()) == 2**bits - 1
    assert float((found - codes).abs().max()) > 0.4 * 63 / top


def test_the_readout_is_quantised_online_and_not_offline() -> None:
    codes = torch.arange(300).remainder(127).sub(63).view(10, 30)
    for readout_quantised in (True, False):
        chip = chip_of(paper(weight_bits=3, readout_quantised=readout_quantised))
        chip.program("readout", codes)
        assert torch.equal(chip.weights("readout"), codes.float()) is not readout_quantised
        program(chip, "second", 20)
        assert torch.equal(chip.weights("second"), torch.full((30, COLUMNS), 21.0))


@pytest.mark.parametrize("bits", [7, 8])
def test_more_bits_than_codes_have_change_nothing(bits: int) -> None:
    chip = chip_of(paper(weight_bits=bits))
    codes = torch.arange(-63, 64).repeat(160)[: COLUMNS * ROWS].view(COLUMNS, ROWS)
    chip.program("first", codes)
    assert torch.equal(chip.weights("first"), codes.float())


def test_converters_of_these_chips_do_not_clip_where_others_do() -> None:
    image = torch.ones(1, ROWS)
    chips = {"paper": paper(), "usual": preset("ideal")}
    for name, factor in (("paper", 3.0), ("usual", 1.0)):
        chip = make_chip("bench-1", chips[name], seed=5)
        settings = LayerSettings(1e5, DECAY, 20.0, full_scale=63.0 * ROWS / 3)
        chip.place(Placement(NETWORK, {stage.name: settings for stage in NETWORK.stages}, 1.0))
        program(chip, "first", 63)
        first = membrane(chip, image)[0]
        expected = torch.full_like(first, factor * settings.full_scale)
        torch.testing.assert_close(first, expected, rtol=1e-4, atol=0)
