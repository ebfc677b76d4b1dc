"""The clock of a chip in software follows wall time while a job uses the chip."""

import time
from collections.abc import Callable

from ltl_core.chip import ChipBackend
from service.bench.stored import Stored


class WallTime:
    """Lets a chip in software age at wall time times a factor; silicon has a clock of its own.

    Time that the chip spends on calls, or waits in `settle`, counts as part of that time.
    """

    def __init__(
        self, chip: ChipBackend, factor: float, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._chip, self._factor, self._monotonic = chip, factor, monotonic
        self._last_wall = monotonic()  # s
        self._last_chip = chip.now() if self._follows else 0.0  # s, on the chip's clock

    def follow(self) -> None:
        """Advance the chip by the wall time since the last call that its own clock lacks."""
        if not isinstance(self._chip, Stored) or not self._follows:
            return
        wall, chip_time = self._monotonic(), self._chip.now()
        behind = (wall - self._last_wall) * self._factor - (chip_time - self._last_chip)
        self._chip.advance(max(0.0, behind))
        self._last_wall, self._last_chip = wall, self._chip.now()

    @property
    def _follows(self) -> bool:
        return self._factor > 0 and isinstance(self._chip, Stored)
