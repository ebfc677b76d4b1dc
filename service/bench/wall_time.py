"""A chip that lives in software ages while it is driven, as one of silicon does."""

import time
from collections.abc import Callable

from ltl_core.chip import ChipBackend
from service.bench.stored import Stored


class WallTime:
    """Its clock follows wall time times a factor; what it was made to wait counts as well."""

    def __init__(
        self, chip: ChipBackend, factor: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._chip, self._factor, self._monotonic = chip, factor, monotonic
        self._looked_at, self._stood_at = monotonic(), chip.now() if self._follows else 0.0

    def follow(self) -> None:
        """Let it catch up with what passed since it was looked at last."""
        if not isinstance(self._chip, Stored) or not self._follows:
            return
        wall, stood = self._monotonic(), self._chip.now()
        behind = (wall - self._looked_at) * self._factor - (stood - self._stood_at)
        self._chip.advance(max(0.0, behind))
        self._looked_at, self._stood_at = wall, self._chip.now()

    @property
    def _follows(self) -> bool:
        return self._factor > 0 and isinstance(self._chip, Stored)
