"""Trace of a torch module on a sample: a torch.fx graph in which the shape of every value is known.

Tracing runs the module on random inputs beside the symbols of torch.fx. So sizes are numbers, as in
`x.view(len(x), -1)`, and only a branch on the values themselves cannot be followed.
"""

import inspect
import operator
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from ltl_core.errors import NetworkError

BATCH = 3  # samples of a trace: no flattened layer can be mistaken for them
_WRAPPED = "module"  # path of the user's module in the traced one
_READ = ("shape", "dtype", "device", "ndim", "is_cuda", "requires_grad", "layout", "itemsize")
# Folders whose lines are of no interest; not of torchvision, which only begins like torch.
_OWN = str(Path(__file__).parent) + os.sep
_TORCH = str(Path(torch.__file__).parent) + os.sep


class Place(NamedTuple):
    """Where an operation of a module comes from."""

    path: str  # of the module, and the name of the function if it is one
    kind: str  # class of the module, or name of the function
    line: str  # FILE line NUMBER of `forward`, empty if it is not known


class Trace(NamedTuple):
    """The operations of a module on a sample, in order."""

    root: nn.Module
    graph: fx.Graph
    inputs: Tensor


class OperationError(NetworkError):
    """An operation of a module that fails for the declared shape of the input."""

    def __init__(
        self, root: nn.Module, node: fx.Node, module: nn.Module | None, reason: str
    ) -> None:
        at = place_of(node)
        super().__init__(
            f"Operation '{at.path}' ({at.kind}{at.line and ', '}{at.line}) fails for this shape of "
            f"the input: {reason}. Give `input_shape` without the batch, as in training."
        )
        self.root = root
        self.node = node
        self.module = module


def trace(module: nn.Module, inputs: Tensor) -> Trace:
    """Trace a module on inputs of BATCH samples. Raises NetworkError, such as OperationError."""
    _check_signature(module)
    root, tracer = _OneInput(module), _Tracer(inputs)
    try:
        with torch.no_grad():
            graph = tracer.trace(root)
    except (TraceError, TypeError) as error:
        raise NetworkError(
            f"The module's forward cannot be followed: {error}. It must not branch on its values."
        ) from error
    except (ArithmeticError, AssertionError, AttributeError, LookupError, ValueError) as error:
        first_line = str(error).partition("\n")[0].rstrip(".")
        raise NetworkError(
            f"The module's forward fails for an input of shape {tuple(inputs.shape)}, batch first: "
            f"{type(error).__name__}: {first_line}. Give `input_shape` as in training."
        ) from error
    return Trace(root, graph, inputs)


def value_of(node: fx.Node) -> Any:
    """Return what a node computed on the sample of its trace."""
    return node.meta["value"]


def is_unchanged(node: fx.Node) -> bool:
    """Return whether no later operation of the trace changed a node's value in place."""
    return bool(getattr(value_of(node), "_version", None) == node.meta["version"])


def path_of(target: object) -> str:
    """Return the path of a module of a trace, as its owner knows it."""
    return str(target).removeprefix(_WRAPPED).removeprefix(".")


def place_of(node: fx.Node) -> Place:
    """Return where a node comes from."""
    line = node.meta.get("line", "")
    if node.op == "call_module":
        return Place(path_of(node.target), str(node.meta["kind"]), line)
    kind = str(getattr(node.target, "__name__", node.target))
    stack = [path_of(name) for name in node.meta.get("nn_module_stack", {})]
    inner = stack[-1] if stack else ""
    return Place(f"{inner}.{node.name}" if inner else node.name, kind, line)


class _OneInput(nn.Module):
    """Calls a module with one input, so that its other parameters keep their defaults."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: Any) -> Any:
        return self.module(x)


def _check_signature(module: nn.Module) -> None:
    try:
        inspect.signature(module.forward).bind(None)
    except TypeError as error:
        raise NetworkError(
            f"The module's forward takes several inputs ({error}); a network has one: give the "
            "others default values, or wrap the module in one that fills them in."
        ) from error


class _Value(fx.Proxy):
    """A symbol that knows its sizes."""

    def __getattr__(self, name: str) -> Any:
        if name in _READ:
            return getattr(value_of(self.node), name)
        return super().__getattr__(name)

    def size(self, dim: int | None = None) -> Any:
        return value_of(self.node).size() if dim is None else value_of(self.node).size(dim)

    def dim(self) -> int:
        return int(value_of(self.node).dim())

    def numel(self) -> int:
        return int(value_of(self.node).numel())

    def is_floating_point(self) -> bool:
        return bool(value_of(self.node).is_floating_point())

    def __len__(self) -> int:
        return len(value_of(self.node))

    def __iter__(self) -> Iterator[fx.Proxy]:
        return (operator.getitem(self, index) for index in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.tracer.to_bool(self))


class _Tracer(fx.Tracer):
    """Traces a module and computes every value on a sample."""

    def __init__(self, inputs: Tensor) -> None:
        super().__init__()
        self._inputs = inputs
        self._computing = False

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        # torchvision's Normalize tests for a tensor, which a symbol is not.
        normalizes = type(m).__name__ == "Normalize" and hasattr(m, "std")
        return normalizes or super().is_leaf_module(m, module_qualified_name)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return _Value(node, self)

    def call_module(self, m: nn.Module, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if self._computing:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if self._computing:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def create_node(self, *args: Any, **kwargs: Any) -> fx.Node:
        node = super().create_node(*args, **kwargs)
        node.meta["line"] = _line()
        self._computing = True
        try:
            node.meta["value"] = value = self._compute(node)
            node.meta["version"] = getattr(value, "_version", None)
        finally:
            self._computing = False
        return node

    def to_bool(self, obj: fx.Proxy) -> bool:
        if depends_on_input(obj.node):
            return bool(super().to_bool(obj))
        return bool(value_of(obj.node))

    def _compute(self, node: fx.Node) -> Any:
        node.meta["from_input"] = node.op == "placeholder" or any(
            depends_on_input(read) for read in node.all_input_nodes
        )
        if node.op == "placeholder":
            return self._inputs.clone()  # the module may change it
        if node.op == "output":
            return None
        if node.op == "get_attr":
            return _attribute(self.root, str(node.target))
        args = fx.node.map_arg(node.args, value_of)
        kwargs = fx.node.map_arg(node.kwargs, value_of)
        return self._call(node, args, kwargs)

    def _call(self, node: fx.Node, args: Any, kwargs: Any) -> Any:
        module = self.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        node.meta["kind"] = type(module).__name__
        try:
            if module is not None:
                return module(*args, **kwargs)
            if callable(node.target):
                return node.target(*args, **kwargs)
            first, *others = args
            return getattr(first, str(node.target))(*others, **kwargs)
        except (RuntimeError, ValueError, IndexError) as error:
            first_line = str(error).partition("\n")[0].rstrip(".")
            raise OperationError(self.root, node, module, first_line) from error


def depends_on_input(node: fx.Node) -> bool:
    """Return whether a node's value changes with the input."""
    return bool(node.meta["from_input"])


def _attribute(root: nn.Module, path: str) -> Any:
    value: Any = root
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _line() -> str:
    """Return the innermost line of a `forward` outside of torch, or nothing."""
    frame = inspect.currentframe()
    while frame is not None:
        code = frame.f_code
        if code.co_name == "forward" and not code.co_filename.startswith((_TORCH, _OWN)):
            return f"{Path(code.co_filename).name} line {frame.f_lineno}"
        frame = frame.f_back
    return ""
