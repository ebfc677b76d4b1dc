"""Random pictures and patterns, which drive a network as samples of a lab do."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

_SCALES = (2, 3, 5, 8, 14)  # cells of random numbers along a side, from coarse to fine
_PATTERNS = 8  # of inputs that have no neighbourhood
_GRAIN = 0.08  # largest standard deviation of the grain, as a fraction of the range


def pictures(
    count: int, channels: int, side: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "sample channel row column"]:
    """Return pictures in [0, 1]: a field of mixed scales, its contrast, a mask, and grain."""
    amounts = torch.rand(count, len(_SCALES), generator=generator).square_()
    field = torch.zeros(count, channels, *side)
    for scale, amount in zip(_SCALES, amounts.T, strict=True):
        field += _for_each(amount) * _smooth((count, channels), side, scale, generator)
    level = uniform(count, -0.5, 1.0, generator)
    values = torch.special.ndtr(_unit(field) * uniform(count, 0.5, 1.5, generator) + level)
    return with_grain(values, generator) * _mask(count, side, generator)


def with_grain(
    values: Float[Tensor, "sample channel row column"], generator: torch.Generator
) -> Float[Tensor, "sample channel row column"]:
    """Add grain, of another strength in each picture, and stay in [0, 1]."""
    grain = torch.randn(values.shape, generator=generator)
    return (values + grain * uniform(len(values), 0.0, _GRAIN, generator)).clamp_(0, 1)


def _mask(
    count: int, side: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "sample 1 row column"]:
    """Return 1 inside a smooth shape, which leans towards the middle, and 0 outside of it."""
    high, wide = (torch.linspace(-1, 1, length) for length in side)
    distance = high.square()[:, None] + wide.square()
    shape = _smooth((count, 1), side, 3, generator)
    shape += uniform(count, 0.0, 1.5, generator) - distance * uniform(count, 0.0, 2.0, generator)
    return (shape > uniform(count, -0.2, 0.8, generator)).float()


def _smooth(
    lead: tuple[int, int], side: tuple[int, int], scale: int, generator: torch.Generator
) -> Float[Tensor, "sample channel row column"]:
    """Return random fields of standard deviation one, smooth over a side's length / `scale`."""
    cells = [min(scale, length) + 1 for length in side]
    coarse = torch.randn(*lead, *cells, generator=generator)
    return _unit(F.interpolate(coarse, size=side, mode="bicubic", align_corners=True))


def mixtures(shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Return values in [0, 1] that are mixtures of a few patterns."""
    count, *rest = shape
    patterns = torch.randn(_PATTERNS, *rest, generator=generator)
    amounts = torch.randn(count, _PATTERNS, generator=generator)
    mixed = torch.tensordot(amounts, patterns, 1) / _PATTERNS**0.5
    values: Tensor = torch.special.ndtr(mixed)
    return values


def _unit(field: Float[Tensor, "sample *shape"]) -> Float[Tensor, "sample *shape"]:
    """Scale each sample to a standard deviation of one."""
    spread = field.flatten(1).std(1, correction=0).clamp(min=1e-6)
    return field / spread.view(-1, *[1] * (field.ndim - 1))


def uniform(
    count: int, low: float, high: float, generator: torch.Generator
) -> Float[Tensor, "sample 1 1 1"]:
    """Return one random number a sample, to be multiplied with pictures."""
    return _for_each(low + (high - low) * torch.rand(count, generator=generator))


def _for_each(values: Float[Tensor, " sample"]) -> Float[Tensor, "sample 1 1 1"]:
    return values[:, None, None, None]
