"""Types and shapes are checked while tests run."""

import jaxtyping
import pytest
import torch

from chip_sim.products import sum_of_squares
from ltl_core.spiking.unfolding import join_time
from service.client.tensors import unpack


def test_a_shape_of_the_core_is_checked() -> None:
    join_time(torch.zeros(4, 2, 3))
    with pytest.raises(jaxtyping.TypeCheckError):
        join_time(torch.zeros(4))


def test_a_shape_of_the_simulator_is_checked() -> None:
    sum_of_squares(torch.zeros(1, 2, 3))
    with pytest.raises(jaxtyping.TypeCheckError):
        sum_of_squares(torch.zeros(3))


def test_a_type_of_the_client_is_checked() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        unpack("no bytes")  # type: ignore[arg-type]
