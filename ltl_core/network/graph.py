"""The graph of a network: the order in which its layers are computed, and what is wrong with it."""

import heapq
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from ltl_core.errors import NetworkError

INPUT = "input"  # the name of the network's own input

Edges = Mapping[str, Sequence[str]]  # the names that each layer reads


def sorted_names(edges: Edges) -> tuple[str, ...]:
    """Return all names so that each stands behind those that it reads, else in the order given.

    Raises NetworkError if a layer reads a name that does not exist, or if layers form a circle.
    """
    _check_known(edges)
    names = list(edges)
    place = {name: index for index, name in enumerate(names)}
    sorter = TopologicalSorter(
        {name: [source for source in edges[name] if source != INPUT] for name in names}
    )
    try:
        sorter.prepare()
    except CycleError as error:
        circle = ", ".join(error.args[1][:0:-1])  # each reads the next, the last the first
        raise NetworkError(
            f"Layers {circle} feed each other in a circle: a network must run from its input to "
            "its readout."
        ) from error
    placed = list[str]()
    ready = [place[name] for name in sorter.get_ready()]
    heapq.heapify(ready)
    while ready:  # the first in the order given comes next
        name = names[heapq.heappop(ready)]
        placed.append(name)
        sorter.done(name)
        for freed in sorter.get_ready():
            heapq.heappush(ready, place[freed])
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


def _check_known(edges: Edges) -> None:
    for name, sources in edges.items():
        if unknown := [source for source in sources if source != INPUT and source not in edges]:
            raise NetworkError(
                f"Layer '{name}' reads {', '.join(unknown)}, which does not exist; "
                f"name another layer, or '{INPUT}' for the network's input."
            )
