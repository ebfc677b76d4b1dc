"""Random sequences: pictures that move, what an event camera sees of them, changing mixtures."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.stimuli.fields import mixtures, pictures, uniform

_POLARITIES = 2  # channels of an event camera: darker, brighter
_WAY = 0.75  # longest way of a picture, as a fraction of the frame
_CONTRAST = (0.1, 0.6)  # change of brightness that gives a full event


def synthetic_sequences(
    shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "sample time *input"]:
    """Return values in [0, 1] of the given shape: sample, time, then a frame.

    A frame of channels, rows and columns is a moving picture. If it has two channels, these are the
    polarities of a camera: where the picture became darker, and where brighter, since the last
    frame. Frames of another form are mixtures of patterns whose amounts change.
    """
    count, steps, *frame = shape
    if len(frame) != 3:
        return _changing((count, steps, *frame), generator)
    channels, side = frame[0], (frame[1], frame[2])
    if channels != _POLARITIES:
        return _moving(count, channels, steps, side, generator)
    seen = _moving(count, 1, steps + 1, side, generator).squeeze(2)
    change = (seen[:, 1:] - seen[:, :-1]) / uniform(count, *_CONTRAST, generator)
    return torch.stack((-change, change), 2).clamp_(0, 1)


def _moving(
    count: int, channels: int, steps: int, side: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "sample time channel row column"]:
    """Return frames of pictures twice as large, each seen through a window on a straight way."""
    rows, columns = side
    scene = pictures(count, channels, (2 * rows, 2 * columns), generator)
    # The window has half of the scene's size; its centre stays within the half of the scene.
    reach = _WAY / 2 * (2 * torch.rand(count, 2, generator=generator) - 1)
    times = torch.linspace(-1, 1, steps)
    frames = []
    for time in times:
        window = torch.zeros(count, 2, 3)
        window[:, 0, 0] = window[:, 1, 1] = 0.5
        window[:, :, 2] = time * reach
        grid = F.affine_grid(window, [count, channels, rows, columns], align_corners=False)
        frames.append(F.grid_sample(scene, grid, align_corners=False))
    return torch.stack(frames, 1)


def _changing(
    shape: tuple[int, ...], generator: torch.Generator
) -> Float[Tensor, "sample time *input"]:
    """Return values that go from one mixture of patterns to another."""
    count, steps, *frame = shape
    first, last = mixtures((2 * count, *frame), generator).split(count)
    weight = torch.linspace(0, 1, steps).view(steps, *[1] * len(frame))
    values: Tensor = first.unsqueeze(1) * (1 - weight) + last.unsqueeze(1) * weight
    return values
