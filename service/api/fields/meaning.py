"""The form in which the meaning of a field is written down."""

from typing import NamedTuple


class Meaning(NamedTuple):
    """What a field means; `unit` is that of its numbers, "1" for a number without dimension."""

    text: str
    unit: str | None = None
