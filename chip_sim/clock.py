"""The chip's own time. Physics is given time; nothing here reads the wall clock."""


class Clock:
    """Seconds since the chip was made; it only goes forward."""

    def __init__(self, now: float = 0.0) -> None:
        self._now = now

    @property
    def now(self) -> float:
        return self._now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        if not seconds >= 0:
            raise ValueError(f"A chip's clock cannot go back by {-seconds} s.")
        self._now += seconds
