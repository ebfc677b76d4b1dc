"""Import of a torch module as a NetworkSpec with weights, through torch.fx; batch norm is folded.

W_fold = gamma W / sqrt(var + eps),  b_fold = (b - mean) gamma / sqrt(var + eps) + beta
"""

import operator
from typing import NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.proxy import TraceError

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.interop.torch_modules import (
    ADDITIONS,
    MODULE_OF,
    Activation,
    GlobalPool,
    activation_of,
    advice_on,
    conv_of,
    function_advice,
    layer_name,
    linear_of,
    pool_of,
)
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import Add, Conv2d, Layer, Linear
from ltl_core.network.spec import NetworkSpec


class Imported(NamedTuple):
    """A network and its weights: the tensors that `NetworkSpec.tensor_shapes` names."""

    network: NetworkSpec
    weights: dict[str, Tensor]


def from_torch(module: nn.Module, input_shape: tuple[int, ...]) -> Imported:
    """Import a feed-forward module as it behaves in eval mode; the module is not changed.

    `input_shape` is the shape of one sample. Raises UnsupportedLayerError, which names the path
    of a layer that has no counterpart, LayerShapeError, and NetworkError.
    """
    try:
        graph = fx.Tracer().trace(module)
    except (TraceError, TypeError) as error:
        raise NetworkError(
            f"The module's forward cannot be followed: {error}. It must not branch on its values."
        ) from error
    builder = _Builder(dict(module.named_modules()))
    for node in _used(graph):
        builder.take(node)
    return builder.finish(input_shape)


class _Resolved(NamedTuple):
    path: str
    module: nn.Module


class _Builder:
    """Collects the layers of a graph; batch norm and activation join the layer before them.

    `_values` holds the layer whose output each node returns. A layer in `_pending` still gives
    plain sums: it has not met its activation, or the addition that it feeds.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self._modules = modules
        self._layers: dict[str, Layer] = {}
        self._weights: dict[str, Tensor] = {}
        self._values: dict[fx.Node, str] = {}
        self._pending: set[str] = set()
        self._readout: str | None = None

    def take(self, node: fx.Node) -> None:
        if node.op == "placeholder":
            self._take_input(node)
        elif node.op == "output":
            self._take_output(node)
        elif node.op != "get_attr" and not _is_size(node):
            self._take_layer(node)

    def finish(self, input_shape: tuple[int, ...]) -> Imported:
        layers, before = [], INPUT
        for layer in self._layers.values():
            # A layer of a chain reads the one before it, so its inputs are left out.
            layers.append(
                layer.model_copy(update={"inputs": ()}) if layer.inputs == (before,) else layer
            )
            before = layer.name
        return Imported(NetworkSpec(input_shape=input_shape, layers=tuple(layers)), self._weights)

    def _take_input(self, node: fx.Node) -> None:
        if self._values:
            raise NetworkError("The module takes several inputs; a network has one.")
        self._values[node] = INPUT

    def _take_output(self, node: fx.Node) -> None:
        (result,) = node.args
        if not isinstance(result, fx.Node):
            raise NetworkError("The module returns several outputs; a network has one readout.")
        self._readout = self._values[result]
        if self._readout not in self._pending or isinstance(self._layers[self._readout], Add):
            raise NetworkError(
                f"The readout '{self._readout}' ends in an activation, a pool or an addition: "
                "end the module with its last linear layer, without activation or softmax."
            )

    def _take_layer(self, node: fx.Node) -> None:
        if node.op != "call_module" and node.target in ADDITIONS:
            self._add(node)
            return
        path, what = self._resolve(node)
        source = self._source(node, path)
        if isinstance(what, nn.Conv2d | nn.Linear):
            self._values[node] = self._add_weighted(path, what, source)
        elif isinstance(what, nn.BatchNorm1d | nn.BatchNorm2d):
            self._fold(path, what, source)
            self._hand_on(node, source)
        elif isinstance(what, nn.AvgPool2d | nn.AdaptiveAvgPool2d | GlobalPool):
            self._values[node] = self._add_pool(path, what, source)
        elif (activation := activation_of(path, what)) is not None:
            self._activate(path, activation, source)
            self._hand_on(node, source)
        elif isinstance(what, nn.Flatten | nn.Dropout | nn.Dropout2d | nn.Identity):
            self._hand_on(node, source)
        else:
            raise UnsupportedLayerError(path, type(what).__name__, advice_on(what))

    def _hand_on(self, node: fx.Node, source: str) -> None:
        self._values[node] = source

    def _source(self, node: fx.Node, path: str) -> str:
        """Return the layer that feeds a node; its plain sums may be read once only."""
        sources = [read for read in node.all_input_nodes if read in self._values]
        if len(sources) != 1:
            raise UnsupportedLayerError(
                path, node.name, "only an addition joins two paths; give this layer one input"
            )
        self._check_read_once(sources[0], path)
        return self._values[sources[0]]

    def _check_read_once(self, read: fx.Node, path: str) -> None:
        users = [user for user in read.users if not _is_size(user)]
        if self._values[read] in self._pending and len(users) > 1:
            raise UnsupportedLayerError(
                path,
                read.name,
                f"the sums of '{self._values[read]}' are read twice before their activation; "
                "put the activation first",
            )

    def _resolve(self, node: fx.Node) -> _Resolved:
        """Return the module that a node calls, or that does what its function does.

        Raises UnsupportedLayerError.
        """
        if node.op == "call_module":
            return _Resolved(str(node.target), self._modules[str(node.target)])
        made, path = MODULE_OF.get(node.target), _path(node)
        if made is None:
            name = getattr(node.target, "__name__", str(node.target))
            raise UnsupportedLayerError(path, name, function_advice(name))
        return _Resolved(path, made(*node.args[1:], **node.kwargs))

    def _add(self, node: fx.Node) -> None:
        """Take an addition; it needs an activation, or becomes part of the addition it feeds."""
        path = _path(node)
        reads = [read for read in node.args if isinstance(read, fx.Node)]
        if len(reads) < 2 or node.kwargs.get("alpha", 1) != 1 or len(node.args) != 2:
            raise UnsupportedLayerError(
                path, "add", "only the outputs of two layers are added, without a factor"
            )
        sources: list[str] = []
        for read in reads:
            self._check_read_once(read, path)
            sources += self._added(self._values[read])
        name = self._unused_name(f"{path}.add" if path != node.name else path)
        self._layers[name] = Add(name=name, inputs=tuple(sources))
        self._pending.add(name)
        self._values[node] = name

    def _added(self, source: str) -> tuple[str, ...]:
        if source not in self._pending:
            return (source,)
        self._pending.remove(source)
        layer = self._layers[source]
        if isinstance(layer, Add):
            del self._layers[source]
            return layer.inputs
        self._layers[source] = layer.model_copy(update={"fires": False})
        return (source,)

    def _unused_name(self, path: str) -> str:
        name, count = layer_name(path), 1
        while name in self._layers:
            count += 1
            name = f"{layer_name(path)}{count}"
        return name

    def _add_weighted(self, path: str, module: nn.Conv2d | nn.Linear, source: str) -> str:
        kind, name = type(module).__name__, layer_name(path)
        if source in self._pending:
            raise UnsupportedLayerError(
                path, kind, f"put a ReLU between it and '{source}', which has no activation"
            )
        if name in self._layers:
            raise UnsupportedLayerError(
                path, kind, "it is used twice; give each use a layer of its own"
            )
        layer = (
            conv_of(path, name, module)
            if isinstance(module, nn.Conv2d)
            else linear_of(name, module)
        )
        self._layers[name] = layer.model_copy(update={"inputs": (source,)})
        bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
        self._weights[f"{name}.weight"] = module.weight.detach().float().clone()
        self._weights[f"{name}.bias"] = bias.detach().float().clone()
        self._pending.add(name)
        return name

    def _fold(self, path: str, norm: nn.BatchNorm1d | nn.BatchNorm2d, name: str) -> None:
        follows = name in self._pending and f"{name}.weight" in self._weights
        if not follows or norm.running_mean is None or norm.running_var is None:
            raise UnsupportedLayerError(
                path,
                type(norm).__name__,
                "it must follow a Conv2d or Linear directly and keep running statistics",
            )
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        gamma = norm.weight.detach() if norm.affine else torch.ones(norm.num_features)
        beta = norm.bias.detach() if norm.affine else torch.zeros(norm.num_features)
        gain = gamma / (norm.running_var + norm.eps).sqrt()
        self._weights[f"{name}.weight"] = weight * gain.view(-1, *[1] * (weight.dim() - 1))
        self._weights[f"{name}.bias"] = (bias - norm.running_mean) * gain + beta

    def _add_pool(self, path: str, pool: nn.Module, source: str) -> str:
        kind = "AvgPool2d" if isinstance(pool, nn.AvgPool2d) else "AdaptiveAvgPool2d"
        if source in self._pending:
            raise UnsupportedLayerError(
                path, kind, "put it behind the activation: neurons fire first, then pool"
            )
        name = self._unused_name(path)
        self._layers[name] = pool_of(path, name, pool).model_copy(update={"inputs": (source,)})
        return name

    def _activate(self, path: str, activation: Activation, source: str) -> None:
        layer = self._layers.get(source)
        if not isinstance(layer, Conv2d | Linear | Add):
            raise UnsupportedLayerError(
                path, "activation", "it must follow a Conv2d, Linear, BatchNorm or addition"
            )
        # A ceiling may also come second: relu, then clamp.
        ceilings = [layer.ceiling] if source not in self._pending else []
        known = [c for c in [*ceilings, activation.ceiling] if c is not None]
        ceiling = min(known) if known else None
        self._layers[source] = layer.model_copy(update={"ceiling": ceiling})
        self._pending.discard(source)


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


def _is_size(node: fx.Node) -> bool:
    """Return whether a node reads a size, as in x.size(0) or x.shape[0], which flattening does."""
    if node.op == "call_method":
        return node.target == "size"
    if node.target is getattr:
        return node.args[1] == "shape"
    return (
        node.target is operator.getitem
        and isinstance(node.args[0], fx.Node)
        and _is_size(node.args[0])
    )


def _path(node: fx.Node) -> str:
    """Return a name for a function: the path of the module that calls it, and its own name."""
    stack = [name for name in node.meta.get("nn_module_stack", {}) if name]
    return f"{stack[-1]}.{node.name}" if stack else node.name
