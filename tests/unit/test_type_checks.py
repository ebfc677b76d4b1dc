"""Types and shapes are checked while tests run."""

import jaxtyping
import pytest
import torch

from chip_sim.array import read_noise_spread
from ltl_core.spiking.unfolding import join_time
from service.client.tensors import unpack


def test_a_shape_of_the_core_is_checked() -> None:
    join_time(torch.zeros(4, 2, 3))
    with pytest.raises(jaxtyping.TypeCheckError):
        join_time(torch.zeros(4))


def test_a_shape_of_the_simulator_is_checked() -> None:
    read_noise_spread(torch.zeros(1, 2, 3), 0.1)
    with pytest.raises(jaxtyping.TypeCheckError):
        read_noise_spread(torch.zeros(3), 0.1)


def test_a_type_of_the_client_is_checked() -> None:
    with pytest.raises(jaxtyping.TypeCheckError):
        unpack("no bytes")  # type: ignore[arg-type]
