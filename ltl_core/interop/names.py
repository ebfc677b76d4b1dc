"""Names of layers from paths of modules."""

import re

from ltl_core.network.graph import INPUT

_OTHER = re.compile(r"[^A-Za-z0-9_.\-]")
_LONGEST = 180


class LayerNames:
    """Gives every layer a name of its own, as near to the path of its module as possible."""

    def __init__(self) -> None:
        self._taken: dict[str, str] = {INPUT: ""}  # path by name
        self.notes: list[str] = []

    def take(self, path: str) -> str:
        """Return an unused name: the path, with "layer" in front if it begins with a digit."""
        wanted = layer_name(path)
        name, count = wanted, 1
        while name in self._taken:
            count += 1
            name = f"{wanted}_{count}"
        if name != wanted and self._taken[wanted] != path:
            self.notes.append(
                f"Module '{path}' is the layer '{name}': the name '{wanted}' is taken."
            )
        self._taken[name] = path
        return name


def layer_name(path: str) -> str:
    """Return a path as a name: with "layer" in front of a digit, and "_" for other characters."""
    name = _OTHER.sub("_", path)[:_LONGEST] or "layer"
    return f"layer{name}" if name[0] in "0123456789.-" else name
