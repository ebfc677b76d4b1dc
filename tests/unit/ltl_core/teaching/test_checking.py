"""Uploads are refused with a sentence that says what is wrong with them."""

import json

import numpy as np
import pytest
import safetensors.numpy

from ltl_core.errors import (
    ActivationRangeError,
    CorruptTensorsError,
    LabelRangeError,
    LayerShapeError,
    MissingActivationsError,
    MissingTensorError,
    NeedlessActivationsError,
    NonFiniteError,
    UnsupportedLayerError,
)
from ltl_core.network.spec import NetworkSpec
from ltl_core.teaching.checking import (
    check_activations,
    check_samples,
    check_weights,
    read_arrays,
)

NETWORK = NetworkSpec.model_validate(
    {
        "input_shape": [4],
        "layers": [
            {"kind": "linear", "name": "hidden", "in_features": 4, "out_features": 3},
            {"kind": "linear", "name": "last", "in_features": 3, "out_features": 2},
        ],
    }
)


def _weights() -> dict[str, np.ndarray]:
    return {n: np.ones(s, dtype=np.float32) for n, s in NETWORK.tensor_shapes.items()}


def _samples() -> dict[str, np.ndarray]:
    return {"inputs": np.ones((5, 4), np.float32), "labels": np.array([0, 1, 0, 1, 1])}


def test_good_uploads_pass() -> None:
    check_weights(NETWORK, read_arrays(safetensors.numpy.save(_weights())))
    assert check_samples(NETWORK, _samples()) == 5


@pytest.mark.parametrize("cut", [0, 4, 40, -1])
def test_a_cut_block_is_corrupt(cut: int) -> None:
    block = safetensors.numpy.save(_weights())
    with pytest.raises(CorruptTensorsError, match="complete"):
        read_arrays(block[:cut])


def test_wrong_weights_are_named() -> None:
    wrong = _weights() | {"hidden.weight": np.ones((3, 5), np.float32)}
    with pytest.raises(LayerShapeError, match=r"hidden.*3x4.*3x5"):
        check_weights(NETWORK, wrong)
    with pytest.raises(MissingTensorError, match=r"missing last\.bias"):
        check_weights(NETWORK, {n: a for n, a in _weights().items() if n != "last.bias"})
    with pytest.raises(MissingTensorError, match="unknown extra"):
        check_weights(NETWORK, _weights() | {"extra": np.ones(1, np.float32)})


def _answered(**changes: np.ndarray) -> dict[str, np.ndarray]:
    given = {
        "activation:hidden": np.ones((5, 3), np.float32),
        "logits": np.ones((5, 2), np.float32),
    }
    return _samples() | given | changes


def test_activations_are_those_of_the_network() -> None:
    assert check_activations(NETWORK, _answered()) == 5
    with pytest.raises(MissingActivationsError, match="missing activation:hidden, logits"):
        check_activations(NETWORK, _samples())
    with pytest.raises(MissingActivationsError, match="unknown activation:last"):
        check_activations(NETWORK, _answered(**{"activation:last": np.ones((5, 2), np.float32)}))
    with pytest.raises(LayerShapeError, match=r"5x3.*4x3"):
        check_activations(NETWORK, _answered(**{"activation:hidden": np.ones((4, 3), np.float32)}))
    with pytest.raises(LayerShapeError, match=r"5x2.*5x3"):
        check_activations(NETWORK, _answered(logits=np.ones((5, 3), np.float32)))
    with pytest.raises(NonFiniteError, match="logits"):
        check_activations(NETWORK, _answered(logits=np.full((5, 2), np.nan, np.float32)))


@pytest.mark.parametrize(
    ("value", "word"), [(-1e-3, "not negative"), (1.01, "clips them at 1"), (2e9, "1e[+]09")]
)
def test_an_activation_is_one_that_its_layer_can_have(value: float, word: str) -> None:
    layers = [layer.model_dump() | {"ceiling": 1.0} for layer in NETWORK.layers]
    clipped = NetworkSpec.model_validate({"input_shape": [4], "layers": layers})
    wrong = _answered()
    assert check_activations(clipped, wrong) == 5
    wrong["activation:hidden"][2, 1] = value
    with pytest.raises(ActivationRangeError, match=word) as refused:
        check_activations(clipped, wrong)
    assert refused.value.tensor == "activation:hidden"


def test_activations_that_nobody_needs_are_refused() -> None:
    with pytest.raises(NeedlessActivationsError, match="leave out activation:hidden, logits"):
        check_samples(NETWORK, _answered())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    weights, samples = _weights(), _samples()
    weights["last.weight"][1, 1] = samples["inputs"][2, 3] = value
    with pytest.raises(NonFiniteError, match=r"last\.weight.*1 NaN"):
        check_weights(NETWORK, weights)
    with pytest.raises(NonFiniteError, match="inputs"):
        check_samples(NETWORK, samples)


@pytest.mark.parametrize("label", [-1, 2])
def test_labels_name_a_class(label: int) -> None:
    samples = _samples()
    samples["labels"][0] = label
    with pytest.raises(LabelRangeError, match="between 0 and 1"):
        check_samples(NETWORK, samples)


def test_samples_have_the_network_s_shape() -> None:
    with pytest.raises(LayerShapeError, match="samplesx4"):
        check_samples(NETWORK, _samples() | {"inputs": np.ones((5, 3), np.float32)})
    with pytest.raises(LayerShapeError, match="labels"):
        check_samples(NETWORK, _samples() | {"labels": np.ones(4, np.int64)})
    with pytest.raises(LayerShapeError, match="labels"):
        check_samples(NETWORK, _samples() | {"labels": np.ones(5, np.float32)})
    with pytest.raises(LayerShapeError, match="labels"):
        check_samples(NETWORK, _samples() | {"labels": np.ones((5, 3), np.float32)})
    with pytest.raises(LayerShapeError, match="samplesx4"):
        check_samples(NETWORK, _samples() | {"inputs": np.ones((5, 0, 4), np.float32)})


def test_labels_may_be_values_or_missing_and_inputs_sequences() -> None:
    values = np.ones((5, NETWORK.classes), np.float32)
    assert check_samples(NETWORK, _samples() | {"labels": values}) == 5
    assert check_samples(NETWORK, {"inputs": _samples()["inputs"]}) == 5
    frames = np.repeat(_samples()["inputs"][:, None], 7, axis=1)
    assert check_samples(NETWORK, _samples() | {"inputs": frames}) == 5
    values[2, 1] = np.inf
    with pytest.raises(NonFiniteError, match="labels"):
        check_samples(NETWORK, _samples() | {"labels": values})


def test_unknown_kind_of_layer_is_named() -> None:
    layers = [{"kind": "max_pool2d", "name": "block.pool", "kernel": [2, 2]}]
    with pytest.raises(UnsupportedLayerError, match=r"block\.pool.*max_pool2d"):
        NetworkSpec.model_validate({"input_shape": [1, 4, 4], "layers": layers})


def _block(entries: dict[str, object], data: bytes = b"") -> bytes:
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + data


def test_header_with_too_many_entries_is_refused_before_it_is_parsed() -> None:
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    assert len(read_arrays(_block({f"t{i}": entry for i in range(100)}))) == 100
    with pytest.raises(CorruptTensorsError, match="more than 10000 entries"):
        read_arrays(_block({f"t{i}": entry for i in range(10_001)})[:-1])  # no JSON any more


@pytest.mark.parametrize("kind", ["BF16", "F8_E4M3"])
def test_types_that_numpy_lacks_are_refused_by_name(kind: str) -> None:
    size = 2 if kind == "BF16" else 1
    entry = {"dtype": kind, "shape": [1], "data_offsets": [0, size]}
    with pytest.raises(CorruptTensorsError, match=f"{kind}.*float32"):
        read_arrays(_block({"a": entry}, b"x" * size))


def test_many_unknown_tensors_are_counted_and_the_first_named() -> None:
    arrays = _weights() | {f"t{i:04}" + "x" * 1000: np.ones(1) for i in range(2000)}
    with pytest.raises(MissingTensorError, match=r"t0000x+, .* and 1980 more") as caught:
        check_weights(NETWORK, arrays)
    assert len(str(caught.value)) < 4000
    assert len(caught.value.unknown) == 20
