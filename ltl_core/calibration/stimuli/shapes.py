"""Random pictures of things: a few rounded shapes, one before the other, each of its own grey.

Edges of shapes drive a network otherwise than smooth fields do. Pictures of leaves that lie on each
other teach networks nearly as well as photographs: Baradad et al., "Learning to See by Looking at
Noise", NeurIPS 2021, whose leaves have sharp corners and fill the picture.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ltl_core.calibration.stimuli.fields import pictures, uniform, with_grain

_SHAPES = 4  # in a picture, at most
_FARTHEST = 0.5  # centre of a shape, as a fraction of half of the side
_RADIUS = (0.15, 0.9)  # likewise
_ROUNDNESS = (2.0, 12.0)  # exponent: 2 is an ellipse, a large one a rectangle


def shapes(
    count: int, channels: int, side: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "sample channel row column"]:
    """Return pictures in [0, 1]: one to four shapes on an empty background, with grain."""
    texture = pictures(count, channels, side, generator)
    number = torch.randint(1, _SHAPES + 1, (count, 1, 1, 1), generator=generator)
    values = torch.zeros(count, channels, *side)
    for index in range(_SHAPES):
        inside = _shape(count, side, generator) & (index < number)
        grey = texture * uniform(count, 0, 1, generator) + uniform(count, 0, 1, generator)
        values = torch.where(inside, grey.clamp_(0, 1), values)
    return torch.where(values > 0, with_grain(values, generator), 0.0)


def _shape(
    count: int, side: tuple[int, int], generator: torch.Generator
) -> Bool[Tensor, "sample 1 row column"]:
    """Return where one shape of each picture lies: |u/a|^n + |v/b|^n < 1, turned and moved."""
    rows, columns = (torch.linspace(-1, 1, length) for length in side)
    right, down = (uniform(count, -_FARTHEST, _FARTHEST, generator) for _ in range(2))
    angle = uniform(count, 0, torch.pi, generator)
    x, y = columns - right, rows[:, None] - down
    u, v = x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin()
    wide, high = (uniform(count, *_RADIUS, generator) for _ in range(2))
    power = uniform(count, *_ROUNDNESS, generator)
    return (u / wide).abs() ** power + (v / high).abs() ** power < 1
