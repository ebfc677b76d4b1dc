"""The nodes of a NIR graph in the order in which they compute, if they form a chain."""

import re
from collections.abc import Iterator, Mapping

import nir

from ltl_core.errors import NetworkError, UnsupportedLayerError

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,199}")


def chain(graph: nir.NIRGraph) -> Iterator[tuple[str, nir.NIRNode]]:
    """Yield the nodes from input to output; each feeds only the next, and none is beside them.

    Raises NetworkError, and UnsupportedLayerError for a node with two sources or readers.
    """
    following = _following(graph)
    name: str | None = _only(graph, nir.Input, "input")
    end, met = _only(graph, nir.Output, "output"), list[str]()
    while name is not None and name not in met:
        met.append(name)
        name = following.get(name)
    if end not in met:
        raise NetworkError(
            f"No edge leads on from node '{met[-1]}', so its values do not reach the output "
            f"'{end}': add the missing edge."
        )
    if beside := [name for name in graph.nodes if name not in met]:
        raise NetworkError(
            f"Node '{beside[0]}' is not on the way from the input to the output: connect it, or "
            "remove it from the graph."
        )
    for name in met:
        _check_name(name)
        yield name, graph.nodes[name]


def _following(graph: nir.NIRGraph) -> Mapping[str, str]:
    """Return the node that reads each node."""
    following: dict[str, str] = {}
    for source, target in graph.edges:
        if missing := [name for name in (source, target) if name not in graph.nodes]:
            raise NetworkError(
                f"An edge leads from '{source}' to '{target}', but there is no node "
                f"'{missing[0]}': remove the edge, or add the node."
            )
        if source in following or target in following.values():
            node = graph.nodes[target]
            raise UnsupportedLayerError(target, type(node).__name__, "the nodes must form a chain")
        following[source] = target
    return following


def _only(graph: nir.NIRGraph, kind: type[nir.NIRNode], word: str) -> str:
    found = [name for name, node in graph.nodes.items() if isinstance(node, kind)]
    if len(found) != 1:
        raise NetworkError(f"The graph has {len(found)} {word}s; one is needed.")
    return str(found[0])


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise NetworkError(
            f"Node {name!r} cannot give its name to a layer: names have up to 200 letters, digits, "
            "'_', '.' and '-', and begin with a letter, a digit or '_'; rename the node."
        )
