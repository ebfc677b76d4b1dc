"""NIR files of other projects, read here, and what both count of the same inputs."""

import io
from typing import NamedTuple

import nir
import snntorch
import torch
from snntorch.export_nir import export_to_nir
from torch import Tensor, nn

from ltl_core.errors import NetworkError
from ltl_core.interop.from_nir import from_nir
from ltl_core.spiking.forward import layer_traces

STEPS, SAMPLES = 16, 50
TO_ZERO = "reset to zero"


class NirRow(NamedTuple):
    """What became of one file."""

    written_by: str
    network: str
    read: str  # "yes", or the reason of the refusal
    counts: int | None  # spike counts compared
    differ: int | None


def nir_rows() -> list[NirRow]:
    """Return a row for each file that snnTorch writes; only those that reset to zero must agree."""
    kinds = {TO_ZERO: "zero", "reset by subtraction, which NIR cannot say": "subtract"}
    return [_row(name, reset) for name, reset in kinds.items()]


def _row(name: str, reset: str) -> NirRow:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Linear(20, 30),
        _neurons(30, reset),
        nn.Linear(30, 10),
        _neurons(10, reset, output=True),
    )
    inputs = torch.rand(SAMPLES, 20)
    graph = _through_a_file(export_to_nir(module, inputs[0]))
    try:
        found = from_nir(graph, steps=STEPS)
    except NetworkError as error:
        return NirRow("snnTorch", name, str(error), None, None)
    traces = layer_traces(found.network, found.weights, inputs, found.neuron)
    ours = [trace.spikes.sum(0) for trace in traces if trace.spikes is not None][-1]
    theirs = _counts(module, inputs)
    return NirRow("snnTorch", name, "yes", ours.numel(), int((ours != theirs).sum()))


def _neurons(count: int, reset: str, *, output: bool = False) -> nn.Module:
    """Return neurons with a leak and a threshold each, which snnTorch's export needs."""
    leak, threshold = torch.full((count,), 0.9), torch.ones(count)
    neurons: nn.Module = snntorch.Leaky(
        leak, threshold, reset_mechanism=reset, init_hidden=True, output=output
    )
    return neurons


def _counts(module: nn.Module, inputs: Tensor) -> Tensor:
    total = torch.zeros(())
    with torch.no_grad():
        for _ in range(STEPS):
            total = total + module(inputs)[0]
    return total


def _through_a_file(graph: nir.NIRGraph) -> nir.NIRGraph:
    file = io.BytesIO()
    nir.write(file, graph)
    return nir.read(file)
