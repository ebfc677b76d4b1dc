"""Results of tests must not depend on how many cores a machine has."""

import os

import torch


def test_torch_computes_with_the_threads_that_the_environment_asks_for() -> None:
    assert torch.get_num_threads() == int(os.environ["OMP_NUM_THREADS"])
