"""The layer-wise pass computes what the plain equations say, for chains, residuals and frames."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.errors import LayerShapeError
from ltl_core.network.spec import NetworkSpec
from ltl_core.rules.end_to_end import Model
from ltl_core.rules.select import select_rule
from ltl_core.settings import NeuronSettings, RuleName
from ltl_core.spiking import gradient as gradient_module
from ltl_core.spiking.forward import layer_traces
from ltl_core.student.forward import layerwise_forward_student
from ltl_core.student.layerwise import LayerwiseResult, Supervision, layerwise_forward
from ltl_core.teaching.readout import LabelCrossEntropy
from tests.blobs import World
from tests.unit.ltl_core import reference
from tests.unit.ltl_core.residual import (
    BATCH,
    CHAIN,
    LABELS,
    RESIDUAL,
    random_inputs,
    random_targets,
    random_weights,
)

NEURON = NeuronSettings(steps=10, warmup=6)
LOCAL = [RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE]
NETWORKS = pytest.mark.parametrize("network", [CHAIN, RESIDUAL], ids=["chain", "residual"])
FRAMES = pytest.mark.parametrize("frames", [False, True], ids=["image", "frames"])


@pytest.fixture(params=[1, 2**40], ids=["one by one", "all at once"], autouse=True)
def at_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradient_module, "NUMBERS_AT_ONCE", request.param)


def _inputs(frames: bool) -> Tensor:
    return random_inputs(BATCH, NEURON.steps) if frames else random_inputs(BATCH)


def _learn(network: NetworkSpec, rule: RuleName, inputs: Tensor) -> LayerwiseResult:
    supervision = Supervision(select_rule(rule), random_targets(network), LabelCrossEntropy(LABELS))
    return layerwise_forward(network, random_weights(network), inputs, NEURON, supervision)


@NETWORKS
@FRAMES
def test_rates_and_logits_are_those_of_the_whole_windows(
    network: NetworkSpec, frames: bool
) -> None:
    inputs, weights = _inputs(frames), random_weights(network)
    result = layerwise_forward(network, weights, inputs, NEURON)
    for trace in layer_traces(network, weights, inputs, NEURON):
        if trace.spikes is None:
            torch.testing.assert_close(result.logits, trace.membrane[-1] / NEURON.steps)
        else:
            assert 0.02 < float(trace.spikes.mean()) < 0.9
            torch.testing.assert_close(result.rates[trace.stage.name], trace.spikes.mean(0))


@NETWORKS
@FRAMES
@pytest.mark.parametrize("rule", LOCAL)
def test_gradients_equal_autograd(network: NetworkSpec, frames: bool, rule: RuleName) -> None:
    found = _learn(network, rule, _inputs(frames)).gradients
    expected = reference.local_gradients(
        Model(network, random_weights(network), NEURON),
        _inputs(frames),
        reference.LocalTargets(random_targets(network), LABELS),
        offline=rule is RuleName.LTL_OFFLINE,
    )
    for name, gradient in found.items():
        for field, value in gradient._asdict().items():
            wanted = expected[f"{name}.{field}"]
            assert float(wanted.abs().max()) > 0
            assert float((value - wanted).norm() / wanted.norm()) < 1e-6


@pytest.mark.parametrize("rule", LOCAL)
def test_another_gain_of_the_straight_branch_would_be_seen(rule: RuleName) -> None:
    first = _learn(RESIDUAL, rule, _inputs(False)).gradients["one"].weight
    weights = random_weights(RESIDUAL) | {"same.gain": torch.tensor([0.5], dtype=torch.float64)}
    supervision = Supervision(
        select_rule(rule), random_targets(RESIDUAL), LabelCrossEntropy(LABELS)
    )
    other = (
        layerwise_forward(RESIDUAL, weights, _inputs(False), NEURON, supervision)
        .gradients["one"]
        .weight
    )
    assert float((first - other).norm() / first.norm()) > 1e-2


def test_as_many_frames_as_steps_are_needed() -> None:
    with pytest.raises(LayerShapeError, match=r"7x2x8x8"):
        layerwise_forward(CHAIN, random_weights(CHAIN), random_inputs(BATCH, 7), NEURON)


@pytest.mark.parametrize("rule", LOCAL)
def test_bytes_change_no_bit(world: World, rule: RuleName) -> None:
    batch = world.targets.take(torch.arange(40))
    supervision = Supervision(select_rule(rule), batch.rates, batch.readout_loss())
    first = layerwise_forward_student(world.student, batch.inputs, supervision)
    second = layerwise_forward_student(world.student, batch.inputs, supervision, in_bytes=False)
    assert torch.equal(first.logits, second.logits)
    assert all(torch.equal(first.rates[name], second.rates[name]) for name in first.rates)
    for name, gradient in first.gradients.items():
        assert all(map(torch.equal, gradient, second.gradients[name]))


@pytest.mark.parametrize("rule", LOCAL)
def test_deltas_in_bytes_keep_the_direction_of_the_gradient(world: World, rule: RuleName) -> None:
    batch = world.targets.take(torch.arange(40))
    supervision = Supervision(select_rule(rule), batch.rates, batch.readout_loss())
    exact = layerwise_forward_student(world.student, batch.inputs, supervision)
    rounded = layerwise_forward_student(
        world.student, batch.inputs, supervision._replace(delta_bits=8)
    )
    assert torch.equal(exact.logits, rounded.logits)
    for name, gradient in exact.gradients.items():
        other = rounded.gradients[name]
        assert torch.equal(gradient.bias, other.bias)
        similar = F.cosine_similarity(gradient.weight.flatten(), other.weight.flatten(), dim=0)
        assert float(similar) > 0.999
    in_bytes = [stage.name for stage in world.network.stages if stage.source is not None]
    assert any(
        not torch.equal(exact.gradients[name].weight, rounded.gradients[name].weight)
        for name in in_bytes
    )
