"""The graph of a network: the order in which its layers are computed, and what is wrong with it."""

import heapq
from collections.abc import Mapping, Sequence

from ltl_core.errors import NetworkError

INPUT = "input"  # the name of the network's own input

Edges = Mapping[str, Sequence[str]]  # the names that each layer reads


def sorted_names(edges: Edges) -> tuple[str, ...]:
    """Return all names so that each stands behind those that it reads, else in the order given.

    Raises NetworkError if a layer reads a name that does not exist, or if layers form a circle.
    """
    _check_known(edges)
    names = list(edges)
    unread = {name: len({*edges[name]} - {INPUT}) for name in names}
    ready = [place for place, name in enumerate(names) if not unread[name]]
    placed: dict[str, None] = {}
    readers = _readers(edges)
    while ready:  # a heap: the first in the order given comes next
        name = names[heapq.heappop(ready)]
        placed[name] = None
        for place in readers[name]:
            unread[names[place]] -= 1
            if not unread[names[place]]:
                heapq.heappush(ready, place)
    if waiting := {name: None for name in names if name not in placed}:
        raise NetworkError(
            f"Layers {', '.join(_circle(edges, waiting))} feed each other in a circle: "
            "a network must run from its input to its readout."
        )
    return tuple(placed)


def only_output(edges: Edges) -> str:
    """Return the one name that no layer reads. Raises NetworkError unless there is exactly one."""
    read = {source for sources in edges.values() for source in sources}
    ends = [name for name in edges if name not in read]
    if len(ends) != 1:
        raise NetworkError(
            f"Nothing reads the layers {', '.join(ends)}, but a network has one output: "
            "keep one readout, and remove or connect the others."
        )
    return ends[0]


def readers(edges: Edges, name: str) -> tuple[str, ...]:
    """Return the layers that read `name`."""
    return tuple(reader for reader, sources in edges.items() if name in sources)


def _readers(edges: Edges) -> Mapping[str, Sequence[int]]:
    """Return the places, in the order given, of the layers that read each name."""
    places: dict[str, list[int]] = {name: [] for name in (*edges, INPUT)}
    for place, sources in enumerate(edges.values()):
        for source in set(sources):
            places[source].append(place)
    return places


def _check_known(edges: Edges) -> None:
    for name, sources in edges.items():
        if unknown := [source for source in sources if source != INPUT and source not in edges]:
            raise NetworkError(
                f"Layer '{name}' reads {', '.join(unknown)}, which does not exist; "
                f"name another layer, or '{INPUT}' for the network's input."
            )


def _circle(edges: Edges, waiting: Mapping[str, None]) -> list[str]:
    """Return the names of one circle: unmet sources are followed until a name comes again."""
    path = [next(iter(waiting))]
    while (following := next(read for read in edges[path[-1]] if read in waiting)) not in path:
        path.append(following)
    return path[path.index(following) :]
