"""The graph of a network: the order in which its layers are computed, and what is wrong with it."""

from collections.abc import Mapping, Sequence

from ltl_core.errors import NetworkError

INPUT = "input"  # the name of the network's own input

Edges = Mapping[str, Sequence[str]]  # the names that each layer reads


def sorted_names(edges: Edges) -> tuple[str, ...]:
    """Return all names so that each stands behind those that it reads, else in the order given.

    Raises NetworkError if a layer reads a name that does not exist, or if layers form a circle.
    """
    _check_known(edges)
    placed: dict[str, None] = {INPUT: None}
    waiting = list(edges)
    while waiting:
        ready = next((n for n in waiting if all(read in placed for read in edges[n])), None)
        if ready is None:
            raise NetworkError(
                f"Layers {', '.join(_circle(edges, waiting))} feed each other in a circle: "
                "a network must run from its input to its readout."
            )
        placed[ready] = None
        waiting.remove(ready)
    return tuple(name for name in placed if name != INPUT)


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


def _circle(edges: Edges, waiting: Sequence[str]) -> list[str]:
    """Return the names of one circle: unmet sources are followed until a name comes again."""
    path = [waiting[0]]
    while (following := next(read for read in edges[path[-1]] if read in waiting)) not in path:
        path.append(following)
    return path[path.index(following) :]
