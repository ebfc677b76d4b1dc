"""Every end-to-end rule equals autograd on its plain definition, for chains and with residuals."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.rules.bptt import Bptt, back_through
from ltl_core.rules.dspike import DspikeBptt, best_temperature, finite_difference, probed_weights
from ltl_core.rules.end_to_end import EndToEndResult, Model
from ltl_core.rules.shortcut import Shortcut
from ltl_core.rules.tandem import Tandem
from ltl_core.settings import NeuronSettings, Reset
from ltl_core.spiking.forward import layer_traces
from ltl_core.spiking.surrogate import Dspike
from ltl_core.teaching.readout import LabelCrossEntropy, SquaredError
from tests.unit.ltl_core import reference
from tests.unit.ltl_core.residual import (
    BATCH,
    CHAIN,
    LABELS,
    RESIDUAL,
    random_inputs,
    random_weights,
)

STEPS = 8
ZERO = NeuronSettings(steps=STEPS, warmup=4)
SUBTRACT = NeuronSettings(steps=STEPS, warmup=4, reset=Reset.SUBTRACT)
TANDEM = NeuronSettings(steps=STEPS, warmup=4, reset=Reset.SUBTRACT, decay=1.0, threshold=1.0)
NETWORKS = pytest.mark.parametrize("network", [CHAIN, RESIDUAL], ids=["chain", "residual"])
NEURONS = pytest.mark.parametrize("neuron", [ZERO, SUBTRACT], ids=["zero", "subtract"])
FRAMES = pytest.mark.parametrize("frames", [False, True], ids=["image", "frames"])


def _model(network: NetworkSpec, neuron: NeuronSettings) -> Model:
    return Model(network, random_weights(network), neuron)


def _inputs(frames: bool = False) -> Tensor:
    return random_inputs(BATCH, STEPS) if frames else random_inputs(BATCH)


def _largest_error(result: EndToEndResult, expected: dict[str, Tensor]) -> float:
    errors = []
    for name, gradient in result.gradients.items():
        for field, value in gradient._asdict().items():
            wanted = expected[f"{name}.{field}"]
            assert float(wanted.abs().max()) > 0
            errors.append(float((value - wanted).norm() / wanted.norm()))
    return max(errors)


@NETWORKS
@NEURONS
@FRAMES
def test_bptt_equals_autograd(network: NetworkSpec, neuron: NeuronSettings, frames: bool) -> None:
    model, inputs = _model(network, neuron), _inputs(frames)
    expected = reference.end_to_end_gradients(model, inputs, LABELS, reference.boxcar(neuron))
    assert _largest_error(Bptt().learn(model, inputs, LabelCrossEntropy(LABELS)), expected) < 1e-6


@NETWORKS
@NEURONS
def test_dspike_equals_autograd(network: NetworkSpec, neuron: NeuronSettings) -> None:
    model, inputs = _model(network, neuron), _inputs()
    expected = reference.end_to_end_gradients(model, inputs, LABELS, reference.dspike(neuron, 3.0))
    rule = DspikeBptt()
    assert _largest_error(rule.learn(model, inputs, LabelCrossEntropy(LABELS)), expected) < 1e-6
    rule.state["temperature"].fill_(3.3)
    assert _largest_error(rule.learn(model, inputs, LabelCrossEntropy(LABELS)), expected) > 1e-2


@NETWORKS
@FRAMES
def test_tandem_equals_autograd(network: NetworkSpec, frames: bool) -> None:
    model, inputs = _model(network, TANDEM), _inputs(frames)
    expected = reference.tandem_gradients(model, inputs, LABELS)
    assert _largest_error(Tandem().learn(model, inputs, LabelCrossEntropy(LABELS)), expected) < 1e-6
    wider = model._replace(neuron=TANDEM.model_copy(update={"threshold": 1.1}))
    assert _largest_error(Tandem().learn(wider, inputs, LabelCrossEntropy(LABELS)), expected) > 1e-2


@NETWORKS
@pytest.mark.parametrize("done", [0.0, 0.75])
def test_shortcut_equals_autograd(network: NetworkSpec, done: float) -> None:
    model, inputs = _model(network, ZERO), _inputs()
    rule = Shortcut(network, weight=0.8, seed=3)
    rule.begin_epoch(done, model, inputs, LabelCrossEntropy(LABELS))
    balance = 0.8 * (1 - done)
    branches = {n: t.double() for n, t in rule.state.items() if n != "balance"}
    expected = reference.end_to_end_gradients(
        model, inputs, LABELS, reference.boxcar(ZERO), reference.Branches(branches, balance)
    )
    result = rule.learn(model, inputs, LabelCrossEntropy(LABELS))
    assert _largest_error(result, expected) < 1e-6
    for name, gradient in result.state_gradients.items():
        wanted = expected[f"branch:{name}"]
        assert float((gradient - wanted).norm() / wanted.norm()) < 1e-6
    rule.begin_epoch(0.5 * (1 + done), model, inputs, LabelCrossEntropy(LABELS))
    assert _largest_error(rule.learn(model, inputs, LabelCrossEntropy(LABELS)), expected) > 1e-3


def test_squared_error_of_the_readout_equals_autograd() -> None:
    model, inputs = _model(CHAIN, ZERO), _inputs()
    wanted = torch.rand((BATCH, 3), dtype=torch.float64)
    expected = reference.end_to_end_gradients(
        model, inputs, wanted, reference.boxcar(ZERO), loss=F.mse_loss
    )
    assert _largest_error(Bptt().learn(model, inputs, SquaredError(wanted)), expected) < 1e-6


def test_finite_difference_is_the_slope_of_the_loss() -> None:
    """Through one readout alone the loss is smooth, and bptt's gradient is exact."""
    last = {"kind": "linear", "name": "last", "in_features": 128, "out_features": 3}
    network = NetworkSpec.model_validate({"input_shape": [2, 8, 8], "layers": [last]})
    model, inputs, loss = _model(network, ZERO), _inputs(), LabelCrossEntropy(LABELS)
    places = probed_weights(model.weights["last.weight"])
    measured = finite_difference(model, inputs, loss, places)
    exact = Bptt().learn(model, inputs, loss).gradients["last"].weight.flatten()[places]
    torch.testing.assert_close(measured, exact, rtol=0.02, atol=1e-4)


def test_temperature_is_the_one_that_points_as_measured() -> None:
    model, inputs, loss = _model(CHAIN, ZERO), _inputs(), LabelCrossEntropy(LABELS)
    candidates = [1.0, 3.0, 8.0]
    chosen = best_temperature(candidates, model, inputs, loss)
    places = probed_weights(model.weights["first.weight"])
    measured = finite_difference(model, inputs, loss, places)
    traces = list(layer_traces(CHAIN, model.weights, inputs, ZERO))
    cosines = {}
    for temperature in candidates:
        result = back_through(traces, model, loss, Dspike(temperature))
        found = result.gradients["first"].weight.flatten()[places]
        cosines[temperature] = float(F.cosine_similarity(found, measured, dim=0))
    assert len(set(cosines.values())) == 3
    assert cosines[chosen] == max(cosines.values())
    assert (
        best_temperature(sorted(candidates, key=cosines.__getitem__)[:2], model, inputs, loss)
        != chosen
    )
