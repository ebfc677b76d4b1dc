"""Live parts of pages: what a browser was sent last, and the lines that have changed since."""

import json
import threading
import zlib
from collections import OrderedDict
from collections.abc import Sequence

CHANGES = "application/vnd.tandemcal.changes+json"
_KEPT = 256  # parts; one of 100 chips takes 10 kB as it is kept


class SentParts:
    """The parts that browsers were sent last, by their tags; the oldest are forgotten.

    A browser that has one that is forgotten is sent the whole part.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self._kept = kept
        self._parts: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, tag: str, text: bytes) -> None:
        """Keep a part that is sent."""
        packed = zlib.compress(text, 1)
        with self._lock:
            self._parts[tag] = packed
            self._parts.move_to_end(tag)
            while len(self._parts) > self._kept:
                self._parts.popitem(last=False)

    def find(self, tag: str) -> bytes | None:
        """Return the part of a tag; None if it is not known any more."""
        with self._lock:
            packed = self._parts.get(tag)
        return None if packed is None else zlib.decompress(packed)


def changes(old: bytes, new: bytes) -> bytes:
    """Return how the new text is made from the old one, as JSON.

    It is a list: `[first, end]` stands for lines of the old text, counted from 0, a string for new
    lines. Both texts are UTF-8, and lines end with a line feed.
    """
    before = old.decode("utf-8", "replace").split("\n")
    after = new.decode("utf-8", "replace").split("\n")
    return json.dumps(_pieces(before, after), ensure_ascii=False, separators=(",", ":")).encode()


def _pieces(old: Sequence[str], new: Sequence[str]) -> list[list[int] | str]:
    places = {line: place for place, line in reversed(list(enumerate(old)))}
    pieces: list[list[int] | str] = []
    for line in new:
        last = pieces[-1] if pieces else None
        if isinstance(last, list) and last[1] < len(old) and old[last[1]] == line:
            last[1] += 1
        elif (place := places.get(line)) is not None:
            pieces.append([place, place + 1])
        elif isinstance(last, str):
            pieces[-1] = f"{last}\n{line}"
        else:
            pieces.append(line)
    return pieces
