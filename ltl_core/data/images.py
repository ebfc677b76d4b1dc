"""Labelled images as they are stored, eight bits a channel, and as they are given to a network."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from ltl_core.errors import SettingError
from ltl_core.teaching.targets import Samples


class Images(NamedTuple):
    """Images of one size with their classes."""

    pixels: UInt8[Tensor, "sample channel row column"]
    labels: Int[Tensor, " sample"]
    classes: tuple[str, ...]  # the name of each label; empty where the format has none

    @property
    def size(self) -> int:
        """Number of images."""
        return len(self.labels)

    def take(self, index: Int[Tensor, " kept"]) -> "Images":
        """Return the images at these indices."""
        return Images(self.pixels[index], self.labels[index], self.classes)


class Scaling(NamedTuple):
    """Scaling of pixels to inputs, channel by channel: x = (pixel / 255 - mean) / deviation."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def apply(
        self, pixels: UInt8[Tensor, "sample channel row column"]
    ) -> Float[Tensor, "sample channel row column"]:
        """Return the inputs of a network.

        Raises SettingError if the number of channels is not that of the scaling.
        """
        channels = pixels.shape[1]
        if {len(self.mean), len(self.deviation)} != {channels}:
            raise SettingError(
                f"The scaling has {len(self.mean)} means and {len(self.deviation)} deviations "
                f"for {channels} channels: give one of each a channel."
            )
        mean, deviation = (
            torch.tensor(values, device=pixels.device).view(-1, 1, 1)
            for values in (self.mean, self.deviation)
        )
        return (pixels.float() / 255 - mean) / deviation


def scaling_of(images: Images) -> Scaling:
    """Return the scaling that gives these images mean 0 and standard deviation 1."""
    values = [images.pixels[:, channel].double() for channel in range(images.pixels.shape[1])]
    mean = tuple(float(value.mean()) / 255 for value in values)
    # A channel of one value has no deviation: it is only shifted.
    deviation = tuple(float(value.std(correction=0)) / 255 or 1.0 for value in values)
    return Scaling(mean, deviation)


def as_samples(images: Images, scaling: Scaling) -> Samples:
    """Return scaled images with their labels."""
    return Samples(scaling.apply(images.pixels), images.labels)


def stack(parts: Sequence[Images]) -> Images:
    """Join parts of one data set, one after the other."""
    pixels, labels = (torch.cat(column) for column in list(zip(*parts, strict=True))[:2])
    return Images(pixels, labels, parts[0].classes)
