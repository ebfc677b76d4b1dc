"""Synaptic operations, counted one by one."""

import pytest
import torch
import torch.nn.functional as F

from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import layer_traces
from ltl_core.student.operations import count_operations, fan_out, operations_from_rates
from tests.blobs import World
from tests.unit.ltl_core.residual import (
    BATCH,
    CHAIN,
    RESIDUAL,
    random_inputs,
    random_targets,
    random_weights,
)


def test_fan_out_of_a_convolution_ends_at_the_border() -> None:
    reached = fan_out(RESIDUAL.stages[0].branches[0])
    assert reached.shape == (2, 8, 8)
    assert float(reached[0, 0, 0]) == 4 * 2 * 2  # channels, and 2 x 2 windows
    assert float(reached[0, 3, 3]) == 4 * 3 * 3


@pytest.mark.parametrize("network", [CHAIN, RESIDUAL], ids=["chain", "residual"])
def test_synops_are_the_connections_that_spikes_meet(network: NetworkSpec) -> None:
    """Every spike, sent through weights of one, arrives once a connection."""
    neuron = NeuronSettings(steps=6, warmup=3)
    traces = list(layer_traces(network, random_weights(network), random_inputs(BATCH), neuron))
    counted = 0.0
    for trace in traces:
        for branch, source in zip(trace.stage.branches, trace.sources, strict=True):
            if branch.source is None:
                continue
            rows = source.flatten(0, 1)
            for pool in branch.pools:
                rows = F.avg_pool2d(rows, pool.kernel, pool.stride) * (pool.kernel[0] ** 2)
            layer = branch.layer
            if layer is None:
                counted += float(rows.sum())
                continue
            ones = torch.ones(layer.weight_shape, dtype=rows.dtype)
            if layer.kind == "linear":
                counted += float(F.linear(rows.flatten(1), ones).sum())
            else:
                options = (layer.stride, layer.padding, 1, layer.groups)
                counted += float(F.conv2d(rows, ones, None, *options).sum())
    rates = {w.stage.name: w.spikes.mean(0) for w in traces if w.spikes is not None}
    operations = operations_from_rates(network, [rates], neuron.steps)
    assert operations.synops == pytest.approx(counted / BATCH, rel=1e-6)
    longer = operations_from_rates(network, [rates], neuron.steps + 1)
    assert longer.synops != pytest.approx(counted / BATCH, rel=1e-2)


def test_a_student_that_always_fires_costs_the_ann_once_a_step() -> None:
    rates = {name: torch.ones_like(rate) for name, rate in random_targets(CHAIN).items()}
    operations = operations_from_rates(CHAIN, [rates], 16)
    assert operations.firing_rate == 1
    linear = 32 * 12 + 12 * 3
    second = operations.ann_synops - linear
    assert operations.synops == pytest.approx(
        16 * (4 * second + linear)
    )  # four spikes a pooled cell


def test_operations_of_a_student_are_those_of_its_rates(world: World) -> None:
    operations = count_operations(world.student, world.test)
    assert len(operations.layer_rates) == 2
    assert 0 < operations.firing_rate < 1
    assert operations.ratio == operations.synops / operations.ann_synops > 0
    assert operations.analog_ops == 6 * (6 * 3 - 2) ** 2
