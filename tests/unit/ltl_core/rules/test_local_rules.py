"""Every closed form equals autograd on the plain equations to 1e-6 relative."""

import pytest
import torch
from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.network.stages import Stage
from ltl_core.rules.rule import LayerActivity
from ltl_core.rules.select import select_rule
from ltl_core.settings import NeuronSettings, RuleName
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.spiking.gradient import Gradient, stage_gradient
from ltl_core.teaching.readout import LabelCrossEntropy
from tests.unit.ltl_core import reference

NEURON = NeuronSettings(steps=16, warmup=12)
IF = NeuronSettings(steps=9, warmup=0, decay=1.0)
NETWORK = NetworkSpec.model_validate(
    {
        "input_shape": [2, 8, 8],
        "layers": [
            {"kind": "conv2d", "name": "first", "in_channels": 2, "out_channels": 6,
             "kernel": [3, 3], "padding": [1, 1]},
            {"kind": "avg_pool2d", "name": "pool", "kernel": [2, 2], "stride": [2, 2]},
            {"kind": "conv2d", "name": "second", "in_channels": 6, "out_channels": 8,
             "kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "groups": 2},
            {"kind": "linear", "name": "third", "in_features": 32, "out_features": 12},
            {"kind": "linear", "name": "last", "in_features": 12, "out_features": 5},
        ],
    }
)  # fmt: skip
STAGES = NETWORK.stages
BATCH = 7
LOCAL = [RuleName.LTL_OFFLINE, RuleName.LTL_ONLINE]


def _weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(shape, generator=generator, dtype=torch.float64)
        * (0.1 if name.endswith("bias") else 0.45 if "first" in name else 0.3)
        for name, shape in NETWORK.tensor_shapes.items()
    }


def _inputs() -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand((BATCH, 2, 8, 8), generator=generator, dtype=torch.float64)


def _target(stage: Stage) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.rand((BATCH, *stage.output_shape), generator=generator, dtype=torch.float64)


LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1])


def _closed_form(trace: LayerTrace, rule: RuleName, neuron: NeuronSettings) -> Gradient:
    chosen = select_rule(rule)
    if trace.spikes is None:
        deltas = chosen.readout_deltas(trace.membrane, LabelCrossEntropy(LABELS), neuron)
    else:
        near = (trace.membrane - neuron.threshold).abs() < neuron.surrogate_width
        activity = LayerActivity(
            trace.spikes, near.to(torch.float64), trace.membrane, _target(trace.stage)
        )
        deltas = chosen.deltas(activity, neuron)
    return stage_gradient(trace.stage, trace.sources, deltas)[trace.stage.name]


def _autograd(index: int, rule: RuleName, neuron: NeuronSettings) -> Gradient:
    """Return the gradient of one layer's own loss; the input of the layer carries no gradient."""
    weights, rows = _weights(), [_inputs()] * neuron.steps
    for stage in STAGES[:index]:
        rows = reference.spike_trains([reference.sums(stage, weights, [x]) for x in rows], neuron)
    stage = STAGES[index]
    weight = weights[f"{stage.name}.weight"].requires_grad_()
    bias = weights[f"{stage.name}.bias"].requires_grad_()
    currents = [reference.sums(stage, weights, [x]) for x in rows]
    offline = rule is RuleName.LTL_OFFLINE
    if stage.is_readout:
        loss = (
            reference.offline_readout_loss(currents, LABELS)
            if offline
            else reference.online_readout_loss(currents, LABELS, neuron)
        )
    elif offline:
        trains = reference.spike_trains(currents, neuron)
        loss = reference.offline_loss(trains, _target(stage))
    else:
        trains = reference.online_trains(currents, neuron)
        loss = reference.online_loss(trains, _target(stage), neuron)
    return Gradient(*torch.autograd.grad(loss, (weight, bias)))


def _error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("neuron", [NEURON, IF], ids=["LIF", "IF"])
@pytest.mark.parametrize("rule", LOCAL)
@pytest.mark.parametrize("index", range(4), ids=[stage.name for stage in STAGES])
def test_closed_form_equals_autograd(index: int, rule: RuleName, neuron: NeuronSettings) -> None:
    trace = list(layer_traces(NETWORK, _weights(), _inputs(), neuron))[index]
    found, expected = _closed_form(trace, rule, neuron), _autograd(index, rule, neuron)
    assert float(expected.weight.abs().max()) > 0
    assert _error(found.weight, expected.weight) < 1e-6
    assert _error(found.bias, expected.bias) < 1e-6


@pytest.mark.parametrize("rule", LOCAL)
@pytest.mark.parametrize("index", range(3), ids=[stage.name for stage in STAGES[:3]])
def test_a_wider_surrogate_would_be_seen(index: int, rule: RuleName) -> None:
    trace = list(layer_traces(NETWORK, _weights(), _inputs(), NEURON))[index]
    wider = NEURON.model_copy(update={"surrogate_width": 0.25})
    found, expected = _closed_form(trace, rule, wider), _autograd(index, rule, NEURON)
    assert _error(found.weight, expected.weight) > 1e-3


def test_offline_rule_carries_credit_through_the_reset() -> None:
    trace = list(layer_traces(NETWORK, _weights(), _inputs(), NEURON))[1]
    expected = _autograd(1, RuleName.LTL_OFFLINE, NEURON)
    no_memory = NEURON.model_copy(update={"decay": 1e-9})
    assert (
        _error(_closed_form(trace, RuleName.LTL_OFFLINE, no_memory).weight, expected.weight) > 1e-2
    )
