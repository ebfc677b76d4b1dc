"""Chips in software that tell what no bench can measure: their true weights, and their wear."""

from __future__ import annotations  # the protocol needs no torch, only its implementations do

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor


@runtime_checkable
class TransparentChip(Protocol):
    """A chip in software that lets its cells be seen. It changes nothing on the chip."""

    def weights(self, layer: str) -> Float[Tensor, "column row"]:
        """Return the true weights under a layer at this instant, code units."""
        ...

    def wear(self, layer: str) -> Int[Tensor, "2 column row"]:
        """Return the pulses so far of each device under a layer."""
        ...
