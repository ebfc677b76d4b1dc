"""A sweep: each column takes the value with which it answers as is wanted."""

import pytest
import torch
from torch import Tensor

from ltl_core.calibration.sweep import best_value, best_values, by_column

VALUES = (-0.5, 0.0, 0.5, 1.0)
SAMPLES = 32


def responses(at: Tensor) -> Tensor:
    """Answers that grow with the stimulus and with the value of the column."""
    stimulus = torch.linspace(0.1, 1, SAMPLES, dtype=torch.float64).unsqueeze(1)
    return stimulus * at.exp()


def sweep_of(columns: int, noise: float = 0.0) -> dict[float, Tensor]:
    generator = torch.Generator().manual_seed(1)
    ones = torch.ones(columns, dtype=torch.float64)
    shape = (SAMPLES, columns)
    return {
        value: responses(value * ones) + noise * torch.randn(shape, generator=generator).double()
        for value in VALUES
    }


def test_each_column_takes_the_value_at_which_its_error_is_least() -> None:
    true = torch.tensor([-0.3, 0.2, 0.7], dtype=torch.float64)
    found = best_values(sweep_of(3), responses(true), spread=0.4)
    assert found.tolist() == pytest.approx(true.tolist(), abs=0.05)
    assert float((found - found.flip(0)).abs().max()) > 0.5  # other values are told apart


def test_a_value_beyond_those_that_were_measured_is_not_taken() -> None:
    true = torch.tensor([2.0, -2.0], dtype=torch.float64)
    assert best_values(sweep_of(2), responses(true), spread=5.0).tolist() == [1.0, -0.5]


def test_a_column_that_only_fluctuates_stays_near_the_others() -> None:
    true = torch.tensor([0.5] * 9 + [-0.5], dtype=torch.float64)
    quiet = best_values(sweep_of(10), responses(true), spread=0.1)
    loud = best_values(sweep_of(10, noise=1.0), responses(true), spread=0.1)
    assert float(quiet[-1]) < -0.2
    assert float((loud - loud.mean()).abs().max()) < 0.25


def test_values_lean_to_the_centre_that_is_given() -> None:
    wanted = responses(torch.tensor([0.5, 0.5], dtype=torch.float64)) + 1.0  # no value reaches it
    near = best_values(sweep_of(2), wanted, spread=0.05, centre=0.0)
    far = best_values(sweep_of(2), wanted, spread=50.0, centre=0.0)
    assert (near < far).all()


def test_one_value_for_all_is_the_best_of_those_measured() -> None:
    assert best_value(sweep_of(2), responses(torch.tensor([0.4, 0.6]).double())) == 0.5


def test_a_single_value_is_refused() -> None:
    with pytest.raises(ValueError, match="two values or more"):
        best_values({0.0: torch.zeros(4, 2)}, torch.zeros(4, 2), spread=1.0)


def test_positions_of_a_column_are_averaged() -> None:
    rates = torch.arange(16.0).view(2, 2, 2, 2)
    assert by_column(rates).tolist() == [[1.5, 5.5], [9.5, 13.5]]
    assert by_column(rates[:, :, 0, 0]).tolist() == [[0.0, 4.0], [8.0, 12.0]]
