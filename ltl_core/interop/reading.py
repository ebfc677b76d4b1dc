"""Reads the operations of a traced module, one after another, into the layers of a network."""

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from torch import Tensor, fx, nn
from torch.fx.immutable_collections import immutable_list

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.interop.calls import Call
from ltl_core.interop.input_affine import AffineOfInput
from ltl_core.interop.layer_builder import LayerBuilder, UnevenError
from ltl_core.interop.refusals import advice_on
from ltl_core.interop.signals import Activated, Score, Several, Signal, Term, Value
from ltl_core.interop.torch_functions import function_reader, module_reader, read_swapped
from ltl_core.interop.tracing import BATCH, Trace, depends_on_input, place_of, value_of
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import Shape
from ltl_core.network.spec import NetworkSpec

_VALUES = (Signal, Activated, Score, Several)


class ReadNetwork(NamedTuple):
    """A network that was read from a module, its weights, and what its user should know."""

    network: NetworkSpec
    weights: dict[str, Tensor]
    notes: tuple[str, ...]
    neurons: Mapping[str, fx.Node]  # node that computes what each layer of neurons puts out
    logits: fx.Node  # node that computes what the readout puts out
    score: Callable[[Tensor], Tensor] | None  # softmax or sigmoid that is left out behind it


def read_trace(trace: Trace) -> ReadNetwork:
    """Read a traced module.

    A scale and shift of the input goes into the first weights; where a convolution pads, it stays
    the network's own. Raises UnsupportedLayerError, and other kinds of NetworkError.
    """
    try:
        return _Reading(trace, keep_affine=False).read()
    except UnevenError as error:
        if not any(term.source == INPUT for term in error.signal.terms):
            raise
        return _Reading(trace, keep_affine=True).read()


def refuse_unknown(root: nn.Module, last: fx.Node) -> None:
    """Raise UnsupportedLayerError if an operation in front of `last` cannot be read."""
    nodes = list(last.graph.nodes)
    inputs = value_of(nodes[0])
    with contextlib.suppress(UnevenError):
        _Reading(Trace(root, last.graph, inputs), keep_affine=False).read_before(last, nodes)


class _Reading:
    """One pass over the operations."""

    def __init__(self, trace: Trace, *, keep_affine: bool) -> None:
        self._trace = trace
        self._builder = LayerBuilder(tuple(trace.inputs.shape[1:]))
        self._affine = AffineOfInput(trace.inputs.shape[1:]) if keep_affine else None
        self._values: dict[fx.Node, Value] = {}
        self._settled: dict[int, tuple[Activated, Signal]] = {}
        self._neurons: dict[str, fx.Node] = {}
        self._logits = next(iter(trace.graph.nodes))
        self._score: Callable[[Tensor], Tensor] | None = None

    def read(self) -> ReadNetwork:
        """Read all operations that the output depends on."""
        for node in _used(self._trace.graph):
            self._take(node)
        affine = self._affine.found if self._affine else None
        network = self._builder.finish(affine)
        notes = tuple(self._builder.notes)
        return ReadNetwork(
            network, self._builder.weights, notes, self._neurons, self._logits, self._score
        )

    def read_before(self, last: fx.Node, nodes: Sequence[fx.Node]) -> None:
        """Read the operations in front of one."""
        for node in nodes[: nodes.index(last)]:
            self._take(node)

    def _take(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            shape = tuple(self._trace.inputs.shape[1:])
            self._values[node] = Signal((Term(INPUT),), None, shape)
        elif node.op == "output":
            self._end(node)
        elif depends_on_input(node):
            self._values[node] = self._operation(node)

    def settle(self, value: Signal | Activated) -> Signal:
        """Return a value as a signal: an activation that is read becomes a layer of neurons."""
        if isinstance(value, Signal):
            return value
        if id(value) not in self._settled:
            signal = self._builder.neurons(value)
            self._settled[id(value)] = (value, signal)
            node = next((n for n, known in self._values.items() if known is value), None)
            if node is not None:
                self._neurons[signal.terms[0].source] = node
        return self._settled[id(value)][1]

    def is_one_layer(self, signal: Signal) -> bool:
        """Return whether neurons behind a signal need one matrix only, and no addition."""
        return self._builder.is_one_layer(signal)

    def is_read(self, value: Activated) -> bool:
        """Return whether an activation is a layer already."""
        return id(value) in self._settled

    def read_input(self, signal: Signal) -> Signal:
        """Return a signal before an operation that is not a scale or a shift of the input."""
        return self._affine.taken_from(signal) if self._affine else signal

    def _operation(self, node: fx.Node) -> Value:
        args = list(fx.node.map_aggregate(node.args, self._known))
        words = dict(fx.node.map_aggregate(node.kwargs, self._known))
        first: Any = args.pop(0) if args else words.pop("input", words.pop("tensors", None))
        if isinstance(first, Several) and node.target is not operator.getitem:
            first = list(first.signals)
        call = self._call(node, first)
        if node.op == "call_module":
            read_module = module_reader(call.module) if call.module is not None else None
            if read_module is None:
                raise call.refused(advice_on(call.place.kind))
            return _applied(read_module, call, call.module)
        if not isinstance(first, _VALUES) or _is_list_of_values(first):
            return self._of_constant(call, first, args, words)
        return self._function(call, node.target, args, words)

    def _function(self, call: Call, target: Any, args: list[Any], words: dict[str, Any]) -> Value:
        read = function_reader(target)
        if read is None:
            raise call.refused(advice_on(call.place.kind))
        return _applied(read, call, *args, **words)

    def _of_constant(self, call: Call, first: Any, args: list[Any], words: dict[str, Any]) -> Value:
        """Read an operation whose first operand is a constant, or a list of values."""
        if _is_list_of_values(first):
            read = function_reader(call.place.kind)
            if read is None:
                raise call.refused(advice_on(call.place.kind))
            return _applied(read, call, first, *args, **words)
        swapped = read_swapped(call.place.kind)
        if swapped is None or len(args) != 1 or words:
            raise call.refused("its first operand is a constant; put the value of the module first")
        return _applied(swapped, call._replace(value=args[0]), first)

    def _call(self, node: fx.Node, first: Any) -> Call:
        value = value_of(node)
        whole = tuple(value.shape) if isinstance(value, Tensor) else (BATCH,)
        module = (
            self._trace.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        )
        samples = whole[0] if whole else 0
        return Call(place_of(node), self, first, whole[1:], samples, module)

    def _known(self, argument: Any) -> Any:
        if not isinstance(argument, fx.Node):
            return argument
        return self._values[argument] if argument in self._values else value_of(argument)

    def _end(self, node: fx.Node) -> None:
        self._logits = result = _only_result(node.args[0])
        value = self._values.get(result)
        place = place_of(result)
        if isinstance(value, Score):
            self._builder.notes.append(
                f"The {value.place.kind} at the end is left out: the network returns the logits, "
                "whose largest is the same class."
            )
            self._score, self._logits = value.function, result.all_input_nodes[0]
            value = value.signal
        if value is None:
            raise NetworkError(
                f"The output '{place.path}' does not depend on the module's input: return its "
                "logits."
            )
        if not isinstance(value, Signal):
            raise NetworkError(
                f"The readout '{place.path}' ends in an activation: end the module with its last "
                "linear layer, without activation or softmax."
            )
        whole: Shape = tuple(value_of(result).shape)
        if whole[:1] != (BATCH,):
            raise UnsupportedLayerError(
                place.path, place.kind, "the output must have one row for each sample", place.line
            )
        self._builder.readout(self.read_input(value), place)


def _applied(read: Callable[..., Value], call: Call, *args: Any, **words: Any) -> Value:
    """Read an operation. Raises UnsupportedLayerError for arguments that are not known."""
    try:
        return read(call, *args, **words)
    except (TypeError, AttributeError, ValueError, IndexError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise call.refused(f"it is called in a way that is not known: {reason}") from error


def _only_result(result: Any) -> fx.Node:
    """Return the one tensor that a module returns, alone or in a tuple, list or dict."""
    while isinstance(result, dict | tuple | list) and len(result) == 1:
        (result,) = result.values() if isinstance(result, dict) else result
    if not isinstance(result, fx.Node) or not isinstance(value_of(result), Tensor):
        raise NetworkError(
            "The module returns no tensor, or several outputs; a network has one readout: return "
            "the logits alone."
        )
    return result


def _is_list_of_values(first: Any) -> bool:
    return type(first) in (list, tuple, immutable_list) and any(
        isinstance(value, _VALUES) for value in first
    )


def _used(graph: fx.Graph) -> list[fx.Node]:
    """Return the nodes that the output depends on, in order."""
    used: set[fx.Node] = set()
    waiting = [node for node in graph.nodes if node.op in ("output", "placeholder")]
    while waiting:
        node = waiting.pop()
        if node not in used:
            used.add(node)
            waiting += node.all_input_nodes
    return [node for node in graph.nodes if node in used]
