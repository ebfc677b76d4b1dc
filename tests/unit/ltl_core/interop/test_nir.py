"""Exported students: read back code for code, and run by another simulator."""

import io

import nir
import numpy as np
import pytest
import torch
from snntorch.import_nir import import_from_nir
from torch import Tensor, nn

from ltl_core.errors import NetworkError, NonFiniteError, SettingError, UnsupportedLayerError
from ltl_core.interop.from_nir import from_nir, student_from_nir
from ltl_core.interop.to_nir import TIME_STEP, to_nir
from ltl_core.settings import NeuronSettings, Reset
from ltl_core.spiking.forward import layer_traces
from ltl_core.student.codes import CodeFormat
from ltl_core.student.forward import student_traces
from ltl_core.student.student import Student
from tests.blobs import World

SAMPLES = 60


def _through_a_file(graph: nir.NIRGraph) -> nir.NIRGraph:
    file = io.BytesIO()
    nir.write(file, graph)
    return nir.read(file)


def _run_in_snntorch(
    graph: nir.NIRGraph, inputs: Tensor, steps: int
) -> tuple[dict[str, Tensor], Tensor]:
    """Return the spike counts of each layer and the readout's sums, as snnTorch computes them."""
    module, counts, sums = import_from_nir(graph), dict[str, Tensor](), torch.zeros(())
    for part in module.modules():
        if isinstance(part, nn.Flatten):
            part.start_dim = 1  # NIR counts dimensions without the batch, torch with it
    for name, part in module.named_children():
        if name.endswith("_neurons"):
            part.register_forward_hook(_counter(counts, name.removesuffix("_neurons")))
    with torch.no_grad():
        for _ in range(steps):
            sums = sums + module(inputs)[0]
    return counts, sums


def _counter(counts: dict[str, Tensor], name: str):
    def add(_module: nn.Module, _inputs: object, spikes: Tensor) -> None:
        counts[name] = counts.get(name, torch.zeros(())) + spikes

    return add


def _same_counts(student: Student, graph: nir.NIRGraph, inputs: Tensor) -> float:
    """Return the fraction of spike counts that agree, over all samples, neurons and layers."""
    counts, _ = _run_in_snntorch(graph, inputs, student.neuron.steps)
    same = [
        (counts[trace.stage.name] == trace.spikes.sum(0)).flatten()
        for trace in student_traces(student, inputs)
        if trace.spikes is not None
    ]
    return float(torch.cat(same).float().mean())


def test_student_comes_back_code_for_code(world: World) -> None:
    again = student_from_nir(_through_a_file(to_nir(world.student)))
    assert again.network == world.student.network
    assert again.placement() == world.student.placement()
    for name, codes in world.student.codes.items():
        assert all(map(torch.equal, codes, again.codes[name]))


def test_snntorch_counts_the_same_spikes(world: World) -> None:
    inputs = world.test.samples.inputs[:SAMPLES]
    graph = _through_a_file(to_nir(world.student))
    assert _same_counts(world.student, graph, inputs) == 1
    _, sums = _run_in_snntorch(graph, inputs, world.student.neuron.steps)
    ours = student_traces(world.student, inputs)[-1].membrane[-1]
    torch.testing.assert_close(sums, ours, rtol=1e-5, atol=1e-4)


def test_another_leak_would_be_seen(world: World) -> None:
    graph = to_nir(world.student)
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF):
            node.tau = node.tau * 1.05
            node.r = node.tau / TIME_STEP
    inputs = world.test.samples.inputs[:SAMPLES]
    assert _same_counts(world.student, graph, inputs) < 0.999


def test_foreign_graph_fires_as_it_says(world: World) -> None:
    """Its layers differ in threshold and gain: scaled to one threshold, every spike is the same."""
    graph = to_nir(world.student)
    graph.metadata.clear()
    for factor, name in ((3.0, "layer0"), (0.5, "layer5")):
        graph.nodes[name].weight = graph.nodes[name].weight * factor
        graph.nodes[name].bias = graph.nodes[name].bias * factor
        neurons = graph.nodes[f"{name}_neurons"]
        neurons.r, neurons.v_threshold = neurons.r * 2, neurons.v_threshold * factor * 2
    network, weights, neuron = from_nir(graph, steps=16)
    inputs = world.test.samples.inputs[:SAMPLES]
    for ours, theirs in zip(
        student_traces(world.student, inputs),
        layer_traces(network, weights, inputs, neuron),
        strict=True,
    ):
        if ours.spikes is not None and theirs.spikes is not None:
            agreement = (ours.spikes == theirs.spikes).float().mean()
            assert float(agreement) > 0.9999  # but for rounding next to the threshold
    with pytest.raises(NetworkError, match="float weights alone"):
        student_from_nir(graph)


def test_neurons_without_leak_are_exported_as_such(world: World) -> None:
    settings = NeuronSettings(decay=1.0)
    graph = to_nir(world.student._replace(neuron=settings))
    assert isinstance(graph.nodes["layer0_neurons"], nir.IF)
    assert from_nir(graph).neuron == settings


def test_trims_of_one_chip_are_not_exported(world: World) -> None:
    codes = dict(world.student.codes)
    trims = torch.ones_like(codes["layer0"].threshold)
    codes["layer0"] = codes["layer0"]._replace(threshold=trims)
    with pytest.raises(SettingError, match="layer0"):
        to_nir(world.student.with_codes(codes))


def test_reset_by_subtraction_has_no_counterpart(world: World) -> None:
    settings = NeuronSettings(reset=Reset.SUBTRACT)
    with pytest.raises(SettingError, match="reset"):
        to_nir(world.student._replace(neuron=settings))


def _graph(*middle: nir.NIRNode) -> nir.NIRGraph:
    nodes = [nir.Input({"input": np.array([4])}), *middle, nir.Output({"output": np.array([3])})]
    return nir.NIRGraph.from_list(*nodes, type_check=False)


def _affine(rows: int, columns: int) -> nir.Affine:
    return nir.Affine(np.ones((columns, rows)), np.zeros(columns))


def _lif(**changes: float) -> nir.LIF:
    values = {"tau": 1e-3, "r": 10.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0} | changes
    return nir.LIF(**{name: np.full(5, value) for name, value in values.items()})


@pytest.mark.parametrize(
    ("middle", "words"),
    [
        ([_affine(4, 5), _affine(5, 3)], "put neurons between"),
        ([_affine(4, 5), _lif(v_leak=0.1), _affine(5, 3)], "leak to zero"),
        ([_affine(4, 5), _lif(v_reset=-1.0), _affine(5, 3)], "reset to zero"),
        ([_affine(4, 5), nir.Threshold(np.ones(5)), _affine(5, 3)], "Threshold.*accepted"),
        ([_lif()], "LIF.*accepted"),
        ([_affine(4, 5), _lif(tau=1e-4), _affine(5, 3)], "longer than a step of 0.0001 s"),
        ([_affine(4, 5), _lif(tau=0.0), _affine(5, 3)], "time constant is 0 s"),
        ([_affine(4, 5), _lif(tau=-1e-3), _affine(5, 3)], "longer than a step"),
        ([_affine(4, 5), _lif(v_threshold=0.0), _affine(5, 3)], "threshold is 0"),
        ([_affine(4, 5), _lif(v_threshold=-1.0), _affine(5, 3)], "threshold is -1"),
        ([_affine(4, 5), _lif(r=float("nan")), _affine(5, 3)], "finite"),
        ([], "must end in a layer with weights"),
    ],
)
def test_what_cannot_be_read_is_named(middle: list[nir.NIRNode], words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        from_nir(_graph(*middle))


def test_branches_are_refused(world: World) -> None:
    graph = to_nir(world.student)
    graph.edges.append(("layer0", "layer7"))
    with pytest.raises(UnsupportedLayerError, match=r"layer7.*chain"):
        from_nir(graph)


def _named(edges: list[tuple[str, str]], **nodes: nir.NIRNode) -> nir.NIRGraph:
    ends = {"in": nir.Input({"input": np.array([4])}), "out": nir.Output({"output": np.array([3])})}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


@pytest.mark.parametrize(
    ("edges", "words"),
    [
        ([("in", "a"), ("a", "n"), ("n", "b")], "No edge leads on from node 'b'.*output 'out'"),
        ([("in", "a"), ("n", "b"), ("b", "out")], "No edge leads on from node 'a'"),
        ([("in", "b"), ("b", "out"), ("a", "n")], "Node 'a' is not on the way"),
        ([("in", "a"), ("a", "n"), ("n", "b"), ("b", "out"), ("b", "c")], "no node 'c'"),
    ],
)
def test_graph_that_is_no_whole_chain_is_refused(edges: list[tuple[str, str]], words: str) -> None:
    graph = _named([("in", "a"), ("a", "n"), ("n", "b"), ("b", "out")], **_parts())
    assert len(from_nir(graph).network.layers) == 2  # the control: with all edges it is read
    graph.edges = edges
    with pytest.raises(NetworkError, match=words):
        from_nir(graph)


def _parts() -> dict[str, nir.NIRNode]:
    return {"a": _affine(4, 5), "n": _lif(), "b": _affine(5, 3)}


def test_names_that_no_layer_can_have_are_refused() -> None:
    parts = {"my layer": _affine(4, 3)}
    graph = _named([("in", "my layer"), ("my layer", "out")], **parts)
    with pytest.raises(NetworkError, match=r"'my layer'.*rename the node"):
        from_nir(graph)


@pytest.mark.parametrize("shape", [[1, 4], [1, 1, 2, 2], [0]])
def test_input_with_a_batch_is_refused(shape: list[int]) -> None:
    graph = _graph(_affine(4, 5), _lif(), _affine(5, 3))
    graph.nodes["input"] = nir.Input({"input": np.array(shape)})
    with pytest.raises(NetworkError, match="without a batch"):
        from_nir(graph)


def test_weights_that_are_no_numbers_are_refused() -> None:
    broken = _affine(4, 5)
    broken.weight[1, 2] = np.nan
    with pytest.raises(NonFiniteError, match=r"affine\.weight"):
        from_nir(_graph(broken, _lif(), _affine(5, 3)))


def test_counts_of_neurons_that_end_a_graph_are_read_out_and_exported(world: World) -> None:
    """The readout of a chain that ends in neurons gives how often each fires a step."""
    graph = to_nir(world.student)
    graph.metadata.clear()
    last = world.student.network.stages[-2].name
    cut = [
        name for name in list(graph.nodes) if name.startswith(world.student.network.stages[-1].name)
    ]
    for name in cut:
        del graph.nodes[name]
    graph.edges = [(a, b) for a, b in graph.edges if a not in cut and b not in cut]
    graph.edges.append((f"{last}_neurons", "output"))
    found = from_nir(graph)
    inputs = world.test.samples.inputs[:SAMPLES]
    traces = list(layer_traces(found.network, found.weights, inputs, found.neuron))
    assert traces[-2].spikes is not None
    rates = traces[-2].spikes.mean(0).flatten(1)
    torch.testing.assert_close(traces[-1].membrane[-1] / found.neuron.steps, rates)
    assert float(rates.max()) > 0
    lsb = {layer.name: 1.0 for layer in found.network.matrices}
    scaled = {name: (values * 10).round() for name, values in found.weights.items()}
    student = Student(found.network, found.neuron, CodeFormat(), {}, lsb, lsb, 1.0)
    again = student_from_nir(to_nir(student.with_weights(scaled)))
    assert again.network == found.network
