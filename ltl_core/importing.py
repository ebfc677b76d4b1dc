"""An `nn.Module` becomes a NetworkSpec and its weights, through torch.fx; batch norm is folded.

W_fold = gamma W / sqrt(var + eps),  b_fold = (b - mean) gamma / sqrt(var + eps) + beta
"""

import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.network import AvgPool2d, Conv2d, Linear, NetworkSpec

ACCEPTED = (
    "accepted are Conv2d, Linear, BatchNorm, ReLU, ReLU6, Hardtanh, AvgPool2d, Flatten, Dropout"
)
Weights = dict[str, Tensor]


class Imported(NamedTuple):
    """A network and the tensors that `NetworkSpec.tensor_shapes` names."""

    network: NetworkSpec
    weights: Weights


class _Activation(NamedTuple):
    ceiling: float | None


def from_torch(module: nn.Module, input_shape: tuple[int, ...]) -> Imported:
    """Import a chain of layers, as it behaves in eval mode; the module is not changed.

    Raises UnsupportedLayerError, naming the module's path, and NetworkError.
    """
    graph = fx.Tracer().trace(module)
    builder = _Builder(dict(module.named_modules()))
    for node in _chain(graph):
        builder.take(node)
    return builder.finish(input_shape)


class _Builder:
    """Collects layers along the chain; batch norm and activation join the layer before them."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self._modules = modules
        self._layers: list[Conv2d | Linear | AvgPool2d] = []
        self._weights: Weights = {}
        self._active = True  # nothing waits for its activation

    def take(self, node: fx.Node) -> None:
        path, what = self._resolve(node)
        if isinstance(what, nn.Conv2d | nn.Linear):
            self._add_weighted(path, what)
        elif isinstance(what, nn.BatchNorm1d | nn.BatchNorm2d):
            self._fold(path, what)
        elif isinstance(what, nn.AvgPool2d):
            self._add_pool(path, what)
        elif (activation := _activation(path, what)) is not None:
            self._activate(path, activation)
        elif not isinstance(what, nn.Flatten | nn.Dropout | nn.Dropout2d | nn.Identity):
            raise UnsupportedLayerError(path, type(what).__name__, _advice(what))

    def finish(self, input_shape: tuple[int, ...]) -> Imported:
        network = NetworkSpec(input_shape=input_shape, layers=tuple(self._layers))
        if self._active and not isinstance(self._layers[-1], AvgPool2d):
            raise NetworkError(
                f"The readout '{self._layers[-1].name}' ends in an activation: "
                "end the module with its last linear layer, without activation or softmax."
            )
        return Imported(network, self._weights)

    def _resolve(self, node: fx.Node) -> tuple[str, nn.Module]:
        if node.op == "call_module":
            return str(node.target), self._modules[str(node.target)]
        made = _MODULE_OF.get(node.target)
        if made is None:
            name = getattr(node.target, "__name__", str(node.target))
            raise UnsupportedLayerError(node.name, name, _function_advice(name))
        return node.name, made(*node.args[1:], **node.kwargs)

    def _add_weighted(self, path: str, module: nn.Conv2d | nn.Linear) -> None:
        if not self._active:
            raise UnsupportedLayerError(
                path,
                type(module).__name__,
                f"put a ReLU between it and '{self._layers[-1].name}', which has no activation",
            )
        name = _name(path)
        self._layers.append(
            _conv(path, name, module) if isinstance(module, nn.Conv2d) else _linear(name, module)
        )
        bias = torch.zeros(len(module.weight)) if module.bias is None else module.bias
        self._weights[f"{name}.weight"] = module.weight.detach().float().clone()
        self._weights[f"{name}.bias"] = bias.detach().float().clone()
        self._active = False

    def _fold(self, path: str, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> None:
        if self._active or norm.running_mean is None or norm.running_var is None:
            raise UnsupportedLayerError(
                path,
                type(norm).__name__,
                "it must follow a Conv2d or Linear directly and keep running statistics",
            )
        name = self._layers[-1].name
        weight, bias = self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]
        gamma = norm.weight.detach() if norm.affine else torch.ones(norm.num_features)
        beta = norm.bias.detach() if norm.affine else torch.zeros(norm.num_features)
        gain = gamma / (norm.running_var + norm.eps).sqrt()
        self._weights[f"{name}.weight"] = weight * gain.view(-1, *[1] * (weight.dim() - 1))
        self._weights[f"{name}.bias"] = (bias - norm.running_mean) * gain + beta

    def _add_pool(self, path: str, pool: nn.AvgPool2d) -> None:
        if not self._active:
            raise UnsupportedLayerError(
                path, "AvgPool2d", "put it behind the activation: neurons fire first, then pool"
            )
        if _pair(pool.padding) != (0, 0) or pool.ceil_mode or pool.divisor_override:
            raise UnsupportedLayerError(
                path, "AvgPool2d", "use no padding, no ceil_mode and no divisor_override"
            )
        self._layers.append(
            AvgPool2d(name=_name(path), kernel=_pair(pool.kernel_size), stride=_pair(pool.stride))
        )

    def _activate(self, path: str, activation: _Activation) -> None:
        if self._active:
            raise UnsupportedLayerError(
                path, "activation", "it must follow a Conv2d, Linear or BatchNorm"
            )
        self._layers[-1] = self._layers[-1].model_copy(update={"ceiling": activation.ceiling})
        self._active = True


def _chain(graph: fx.Graph) -> Iterable[fx.Node]:
    """The nodes between input and output; each may use only the one before it."""
    nodes = [node for node in graph.nodes if node.op != "get_attr"]
    previous = nodes[0]
    for node in nodes[1:]:
        if list(node.all_input_nodes) != [previous]:
            raise UnsupportedLayerError(
                str(node.target), node.name, "the layers must form one chain, each fed by the last"
            )
        if node.op != "output":
            yield node
        previous = node


def _activation(path: str, module: nn.Module) -> _Activation | None:
    if isinstance(module, nn.ReLU):
        return _Activation(None)
    if isinstance(module, nn.Hardtanh):  # ReLU6 is one
        if module.min_val != 0:
            raise UnsupportedLayerError(
                path, "Hardtanh", "a rate cannot be negative: use min_val=0"
            )
        ceiling = float(module.max_val)
        return _Activation(None if math.isinf(ceiling) else ceiling)
    return None


def _conv(path: str, name: str, module: nn.Conv2d) -> Conv2d:
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise UnsupportedLayerError(path, "Conv2d", "give the padding in numbers, of zeros")
    if _pair(module.dilation) != (1, 1):
        raise UnsupportedLayerError(path, "Conv2d", "use dilation 1")
    return Conv2d(
        name=name,
        in_channels=module.in_channels,
        out_channels=module.out_channels,
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        padding=_pair(module.padding),
        groups=module.groups,
    )


def _linear(name: str, module: nn.Linear) -> Linear:
    return Linear(name=name, in_features=module.in_features, out_features=module.out_features)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def _name(path: str) -> str:
    return f"layer{path}" if path[:1].isdigit() else path


def _advice(module: nn.Module) -> str:
    if isinstance(module, nn.MaxPool2d | nn.AdaptiveMaxPool2d):
        return "spikes have no maximum to pool; use AvgPool2d, or a stride of 2 in the convolution"
    return ACCEPTED


def _function_advice(name: str) -> str:
    if "max_pool" in name:
        return "spikes have no maximum to pool; use avg_pool2d, or a stride of 2 in the convolution"
    return ACCEPTED


def _ceiling(low: float | None = None, high: float | None = None, **words: float) -> nn.Module:
    low, high = words.get("min", low), words.get("max", high)
    return nn.Hardtanh(low or 0.0, float("inf") if high is None else float(high))


def _identity(*_args: object, **_words: object) -> nn.Module:
    return nn.Identity()


_MODULE_OF: dict[Any, Callable[..., nn.Module]] = {
    F.relu: nn.ReLU,
    torch.relu: nn.ReLU,
    "relu": nn.ReLU,
    F.relu6: nn.ReLU6,
    F.hardtanh: nn.Hardtanh,
    torch.clamp: _ceiling,
    "clamp": _ceiling,
    F.avg_pool2d: nn.AvgPool2d,
    F.dropout: _identity,
    torch.flatten: _identity,
    "flatten": _identity,
}
