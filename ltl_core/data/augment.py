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
    """Shift each sample by up to `padding` pixels, filling with zeros, and mirror one in two.

    Random numbers are drawn on the generator's device: a seed gives the same on every device.
    """
    samples, channels, rows, columns = inputs.shape
    padded, drawn_on = F.pad(inputs, (padding,) * 4), generator.device
    shifts = torch.randint(
        0, 2 * padding + 1, (2, samples), generator=generator, device=drawn_on
    ).to(inputs.device)
    down = shifts[0][:, None] + torch.arange(rows, device=inputs.device)
    across = shifts[1][:, None] + torch.arange(columns, device=inputs.device)
    if flip:
        drawn = torch.rand(samples, generator=generator, device=drawn_on).to(inputs.device)
        across = torch.where(drawn[:, None] < 0.5, across.flip(1), across)
    sample = torch.arange(samples, device=inputs.device).view(-1, 1, 1, 1)
    channel = torch.arange(channels, device=inputs.device).view(1, -1, 1, 1)
    return padded[sample, channel, down[:, None, :, None], across[:, None, None, :]]
