import math

import pytest
import torch

from chip_sim.gaussian_table import GaussianTable, cut

LARGE = 1 << 20


def drawn(seed: int, *shape: int) -> torch.Tensor:
    return GaussianTable(torch.Generator().manual_seed(seed)).take(math.prod(shape)).view(shape)


def distance(numbers: torch.Tensor) -> float:
    """Return the Kolmogorov-Smirnov distance from the normal distribution."""
    below = (torch.arange(LARGE, dtype=torch.float64) + 0.5) / LARGE
    return float((torch.special.ndtr(numbers.double().sort().values) - below).abs().max())


def errors_from(numbers: torch.Tensor, power: int, moment: float) -> float:
    """Return how many standard errors the moment is from what it should be."""
    powers = numbers**power
    return abs(float(powers.mean()) - moment) / float(powers.std()) * LARGE**0.5


def related(numbers: torch.Tensor, shift: int) -> float:
    """Return the correlation of numbers with those `shift` places before."""
    return abs(float((numbers[:-shift] * numbers[shift:]).mean())) / float(numbers.var())


def test_numbers_are_normal() -> None:
    numbers, chance = drawn(1, LARGE), 1.95 / LARGE**0.5  # exceeded once in a thousand
    assert distance(numbers) < chance
    assert distance(numbers * 1.05) > chance
    assert distance(numbers + 0.05) > chance


@pytest.mark.parametrize(("power", "moment"), [(1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0), (6, 15.0)])
def test_moments_are_those_of_normal_numbers(power: int, moment: float) -> None:
    numbers = drawn(2, LARGE).double()
    assert errors_from(numbers, power, moment) < 4
    changed = numbers + 0.05 if power % 2 else numbers * 1.05
    assert errors_from(changed, power, moment) > 4


def test_numbers_are_independent_of_those_before() -> None:
    numbers = drawn(3, LARGE)
    for shift in (1, 2, 3, 4, 512):
        for part in (numbers, numbers.abs() - numbers.abs().mean()):
            assert related(part, shift) < 4 / LARGE**0.5
            assert related(part + 0.05 * part.roll(shift), shift) > 4 / LARGE**0.5


def test_a_stream_goes_on_and_a_seed_repeats_it() -> None:
    gaussian = GaussianTable(torch.Generator().manual_seed(4))
    first, second = (gaussian.take(15).view(5, 3).clone() for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, drawn(4, 5, 3))
    assert not torch.equal(first, drawn(5, 5, 3))


def taken(parts: list[int]) -> torch.Tensor:
    gaussian = GaussianTable(torch.Generator().manual_seed(7))
    return torch.cat([gaussian.take(count).clone() for count in parts])


@pytest.mark.parametrize(("lines", "width"), [(7, 60_001), (3000, 101), (2, 400_000), (9, 5)])
def test_taking_numbers_in_parts_gives_what_taking_them_at_once_gives(
    lines: int, width: int
) -> None:
    parts = cut(lines, width)
    counts = [(part.stop - part.start) * width for part in parts]
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert torch.equal(taken(counts), taken([lines * width]))


def test_a_part_that_ends_within_a_word_of_random_bits_would_change_them() -> None:
    assert not torch.equal(taken([5, 5]), taken([10]))


def test_threads_do_not_change_the_numbers() -> None:
    one = drawn(6, LARGE)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert torch.equal(one, drawn(6, LARGE))
    finally:
        torch.set_num_threads(threads)


def test_a_seed_means_the_same_numbers_in_every_version() -> None:
    """A seed names a chip: if a library drew other numbers, every chip would be another one."""
    expected = torch.tensor([1.8006, -0.7810, 1.1130, 0.8207])
    torch.testing.assert_close(drawn(4, 4), expected, rtol=0, atol=1e-4)
