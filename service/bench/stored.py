"""Chips that live in software, and are kept in a file while nobody drives them."""

from __future__ import annotations  # the protocol needs no torch, only its implementations do

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor


@runtime_checkable
class Stored(Protocol):
    """A chip that lives in software: its devices are kept in a file while nobody drives it."""

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None: ...

    def advance(self, seconds: float) -> None: ...
