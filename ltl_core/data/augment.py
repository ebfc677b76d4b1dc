"""The published augmentation of small pictures: pad, crop at random, flip one in two."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def crop_and_flip(
    inputs: Float[Tensor, "sample channel row column"],
    generator: torch.Generator,
    *,
    padding: int = 4,
    flip: bool = True,
) -> Float[Tensor, "sample channel row column"]:
    """Each sample shifted by up to `padding` pixels, zeros moving in, and mirrored one in two."""
    samples, channels, rows, columns = inputs.shape
    padded = F.pad(inputs, (padding,) * 4)
    top, left = torch.randint(0, 2 * padding + 1, (2, samples), generator=generator)
    down = top[:, None] + torch.arange(rows)
    across = left[:, None] + torch.arange(columns)
    if flip:
        mirrored = torch.rand(samples, generator=generator) < 0.5
        across = torch.where(mirrored[:, None], across.flip(1), across)
    sample = torch.arange(samples).view(-1, 1, 1, 1)
    channel = torch.arange(channels).view(1, -1, 1, 1)
    return padded[sample, channel, down[:, None, :, None], across[:, None, None, :]]
