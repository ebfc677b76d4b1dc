"""Uploaded blocks: the same samples give the same chunks, in single precision."""

from typing import Any

import numpy as np
import pytest
import torch

from service.client.errors import TandemcalError
from service.client.tensors import AnsweredSamples, Samples, chunk_count, cut, pack, unpack


def splits(count: int = 10) -> dict[str, Samples]:
    inputs = np.random.default_rng(0).random((count, 2))
    labels = np.arange(count)
    return {"calibration": Samples(inputs, labels), "test": Samples(inputs[:3], labels[:3])}


def test_chunks_hold_every_sample_once_and_in_order() -> None:
    chunks = list(cut(splits(), chunk_samples=4))
    assert [chunk.number for chunk in chunks] == [0, 1, 2, 3]
    assert [chunk.split for chunk in chunks] == ["calibration"] * 3 + ["test"]
    labels = [unpack(chunk.block)["labels"] for chunk in chunks if chunk.split == "calibration"]
    assert np.concatenate(labels).tolist() == list(range(10))


def test_as_many_chunks_are_announced_as_are_cut() -> None:
    for size in (1, 3, 4, 10, 11):
        assert chunk_count(splits(), size) == len(list(cut(splits(), size)))


def test_cutting_again_gives_the_same_bytes() -> None:
    assert [c.block for c in cut(splits(), 4)] == [c.block for c in cut(splits(), 4)]


def test_tensors_and_arrays_travel_alike_and_in_single_precision() -> None:
    values = np.random.default_rng(0).random((2, 3))
    tensor = torch.tensor(values, requires_grad=True)
    assert pack({"w": values}) == pack({"w": tensor})
    assert unpack(pack({"w": tensor}))["w"].dtype == np.float32


def test_a_transposed_tensor_keeps_its_values() -> None:
    values = torch.arange(6.0).reshape(2, 3).T
    assert unpack(pack({"w": values}))["w"].tolist() == values.tolist()


@pytest.mark.parametrize("labels", [80, 39, 0])
def test_labels_that_do_not_match_the_inputs_are_refused(labels: int) -> None:
    wrong = {"calibration": Samples(np.zeros((40, 2)), np.zeros(labels, int))}
    with pytest.raises(TandemcalError, match=f"40 inputs, but {labels} labels"):
        list(cut(wrong, chunk_samples=4))


def answered(count: int = 5, **changes: Any) -> AnsweredSamples:
    given = AnsweredSamples(
        np.zeros((count, 2)), None, {"hidden": np.ones((count, 3))}, np.ones((count, 4))
    )
    return given._replace(**changes)


def test_answered_samples_are_cut_with_their_activations() -> None:
    first, second = (unpack(chunk.block) for chunk in cut({"test": answered()}, chunk_samples=3))
    shapes = {name: array.shape for name, array in first.items()}
    assert shapes == {"inputs": (3, 2), "activation:hidden": (3, 3), "logits": (3, 4)}
    assert len(second["activation:hidden"]) == len(second["logits"]) == 2


def test_activations_that_do_not_match_the_inputs_are_refused() -> None:
    few = answered(activations={"hidden": np.ones((4, 3))})
    with pytest.raises(TandemcalError, match="5 inputs, but 4 activations of 'hidden'"):
        list(cut({"test": few}, chunk_samples=3))
    with pytest.raises(TandemcalError, match="5 inputs, but 6 logits: give one row"):
        list(cut({"test": answered(logits=np.ones((6, 4)))}, chunk_samples=3))
