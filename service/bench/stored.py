"""Chips that live in software: their state is saved in a file while no job uses them."""

from __future__ import annotations  # the protocol needs no torch, only its implementations do

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Stored(Protocol):
    """A chip that lives in software, and whose state can be saved and restored."""

    def state(self) -> dict[str, Tensor]:
        """Return all that the chip must keep, as tensors."""
        ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the state that `state` returned. Raises ForeignStateError for another chip's."""
        ...

    def advance(self, seconds: float) -> None:
        """Let the chip's clock run on by `seconds`; its devices age as long."""
        ...
