"""Which networks there are, and which are refused."""

from typing import Any

import pytest

from ltl_core.chip import LayerSettings, Placement
from ltl_core.errors import LayerShapeError, NetworkError, UnsupportedLayerError
from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import stage_sums, warm_start
from ltl_core.teaching.teacher import run_teacher
from tests.blobs import chip
from tests.unit.ltl_core.residual import BATCH, RESIDUAL, random_inputs, random_weights


def _linear(name: str, *inputs: str, fires: bool = True, **more: int) -> dict[str, Any]:
    sizes = {"in_features": 4, "out_features": 4} | more
    return {"kind": "linear", "name": name, "inputs": inputs, "fires": fires} | sizes


def _network(*layers: dict[str, Any]) -> NetworkSpec:
    return NetworkSpec.model_validate({"input_shape": [4], "layers": layers})


ADD: dict[str, Any] = {"kind": "add", "name": "sum"}
END = _linear("end", "sum")


@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        ([_linear("a", "b"), _linear("b", "a"), _linear("c", "b")], "a, b feed each other"),
        ([_linear("a"), _linear("b", "a"), _linear("c", "a")], "Nothing reads the layers b, c"),
        ([_linear("a"), _linear("b", "nowhere")], "'b' reads nowhere"),
        ([_linear("a"), _linear("b", "a", "input")], "kind 'add'"),
        ([_linear("a", fires=False), _linear("b", "a")], "exactly one addition"),
        ([_linear("a"), ADD | {"inputs": ["a", "input"]}, END], "at least one of them"),
        ([_linear("a", fires=False), ADD | {"inputs": ["a"]}, END], "at least two inputs"),
        ([_linear("a"), _linear("a", "a")], "occurs twice"),
        ([_linear("input")], "names the network's input"),
        ([_linear("a", fires=False), ADD | {"inputs": ["a", "input"]}], "must be a conv2d or lin"),
    ],
)
def test_what_does_not_fit_together_is_refused(
    layers: list[dict[str, Any]], complaint: str
) -> None:
    with pytest.raises(NetworkError, match=complaint):
        _network(*layers)


def test_branches_of_different_shapes_are_refused() -> None:
    wide = _linear("a", fires=False, out_features=5)
    with pytest.raises(LayerShapeError, match="sum"):
        _network(wide, ADD | {"inputs": ["a", "input"]}, END)


def test_order_in_the_file_does_not_matter() -> None:
    network = _network(_linear("last", "first"), _linear("first", "input"))
    assert [stage.name for stage in network.stages] == ["first", "last"]


def test_network_written_before_layers_had_inputs_is_read() -> None:
    old = {"kind": "linear", "name": "a", "in_features": 4, "out_features": 2, "ceiling": None}
    network = NetworkSpec.model_validate({"input_shape": [4], "layers": [old]})
    assert network.edges == {"a": ("input",)}


@pytest.mark.parametrize("wrong", [1.0, 1.1])
def test_warm_start_asks_for_the_teacher_s_rates_through_additions(wrong: float) -> None:
    """Fed with the rates a / k, the currents are threshold times a / k before clipping."""
    weights = {n: w for n, w in random_weights(RESIDUAL).items() if not n.endswith("gain")}
    answer = run_teacher(RESIDUAL, weights, random_inputs(BATCH))
    scales = {name: float(a.max()) for name, a in answer.activations.items()}
    neuron = NeuronSettings()
    started = warm_start(RESIDUAL, weights, scales, neuron)
    started["same.gain"] = started["same.gain"] * wrong
    rates = {n: (a / scales[n]).unsqueeze(0) for n, a in answer.activations.items()}
    errors = []
    for stage in RESIDUAL.stages[1:-1]:
        sources = [rates[str(branch.source)] for branch in stage.branches]
        currents = stage_sums(stage, started, sources).clamp(min=0) / neuron.threshold
        errors.append(float((currents - rates[stage.name]).abs().max()))
    assert (max(errors) < 1e-6) == (wrong == 1.0)


def test_simulated_chip_refuses_additions() -> None:
    settings = {
        layer.name: LayerSettings(threshold=1.0, decay=0.9, window=0.1, full_scale=1.0)
        for layer in RESIDUAL.matrices
    }
    with pytest.raises(UnsupportedLayerError, match=r"same.*add"):
        chip("ideal").place(Placement(RESIDUAL, settings, 1.0))
