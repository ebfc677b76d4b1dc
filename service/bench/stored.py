"""Chips that live in software, and are kept in a file while nobody drives them."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Stored(Protocol):
    """A chip that lives in software: its devices are kept in a file while nobody drives it."""

    def state(self) -> dict[str, Tensor]: ...

    def restore(self, tensors: Mapping[str, Tensor]) -> None: ...

    def advance(self, seconds: float) -> None: ...
