"""Convolutions with strides in place of max pools, which spikes cannot compute."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, fx, nn

from ltl_core.errors import NetworkError
from ltl_core.interop.linear_maps import extents
from ltl_core.interop.preparing import prepared
from ltl_core.interop.tracing import BATCH, path_of, trace, value_of

_Sizes = tuple[int, ...]  # one number for each dimension of the positions
_ADAPTIVE = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
_POOLS = (nn.MaxPool1d, nn.MaxPool2d, *_ADAPTIVE)
# What may stand between a convolution and its pool: each value becomes one at the same place.
_BY_PLACE = (
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.Hardtanh, nn.Identity),
    *(nn.Dropout, nn.Dropout1d, nn.Dropout2d),
)
_BY_PLACE_FUNCTIONS = ("relu", "relu_", "relu6", "hardtanh", "clamp", "clamp_", "clip", "dropout")


class _Call(NamedTuple):
    """A call of a max pool on a sample, and the convolution in front of it that only it reads."""

    values: Tensor  # batch, channels, positions
    found: _Sizes  # positions behind the pool
    conv: str | None  # path of the convolution
    positions: _Sizes  # that the convolution reads


def put_convolutions(module: nn.Module, sample_shape: tuple[int, ...]) -> None:
    """Put convolutions in place of the max pools of a module, which is changed.

    A convolution in front of a pool takes the pool's stride over and the pool goes, if nothing
    else reads the convolution and sizes stay. Any other pool becomes a convolution of each channel
    alone, which starts as the average of its windows, and a ReLU if it reads no negative values.
    Raises NetworkError for a pool used at several places, or of windows that are not alike.
    """
    calls = _calls(module, sample_shape)
    for path in dict.fromkeys(path for path, _ in calls):
        here = [call for name, call in calls if name == path]
        pool: Any = module.get_submodule(path)
        if all(_takes_stride(module, pool, call) for call in here):
            for call in here:
                _lengthen(module.get_submodule(str(call.conv)), _stride(pool, call))
            module.set_submodule(path, nn.Identity())
        elif len(here) == 1:
            module.set_submodule(path, _by_channel(path, pool, here[0], module))
        else:
            raise NetworkError(
                f"The max pool '{path}' is used at {len(here)} places, but each needs a "
                "convolution of its own: give each place its own max pool."
            )


def _calls(module: nn.Module, sample_shape: tuple[int, ...]) -> list[tuple[str, _Call]]:
    """Return the calls of max pools by their paths."""
    rng = torch.Generator().manual_seed(0)
    inputs = torch.rand(BATCH, *sample_shape, generator=rng, dtype=torch.float64)
    traced = trace(prepared(module), inputs)
    used = [node.target for node in traced.graph.nodes]
    calls = []
    for node in traced.graph.nodes:
        if node.op != "call_module" or not isinstance(_module(traced.root, node), _POOLS):
            continue
        front = node.all_input_nodes[0]
        conv = _conv_before(traced.root, front)
        alone = conv is not None and used.count(conv.target) == 1
        call = _Call(
            value_of(front),
            tuple(value_of(node).shape[2:]),
            path_of(conv.target) if conv is not None and alone else None,
            tuple(value_of(conv.all_input_nodes[0]).shape[2:]) if conv is not None else (),
        )
        calls.append((path_of(node.target), call))
    return calls


def _conv_before(root: nn.Module, node: fx.Node) -> fx.Node | None:
    """Return the convolution whose values a node gives, changed place by place, or None."""
    while len(node.users) == 1:
        module = _module(root, node) if node.op == "call_module" else None
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            return node
        name = str(getattr(node.target, "__name__", node.target))
        by_place = node.op != "call_module" and name in _BY_PLACE_FUNCTIONS
        if not (isinstance(module, _BY_PLACE) or by_place) or not node.all_input_nodes:
            return None
        node = node.all_input_nodes[0]
    return None


def _module(root: nn.Module, node: fx.Node) -> nn.Module:
    return root.get_submodule(str(node.target))


def _takes_stride(module: nn.Module, pool: Any, call: _Call) -> bool:
    """Return whether the convolution before a pool gives as many positions with its stride."""
    stride = _stride(pool, call)
    if call.conv is None or isinstance(pool, _ADAPTIVE) or max(stride) == 1:
        return False
    conv: Any = module.get_submodule(call.conv)
    pads = _padding(conv)
    if pads is None:
        return False
    sizes = zip(
        *(call.positions, pads, conv.kernel_size, conv.dilation, conv.stride, stride, call.found),
        strict=True,
    )
    return all(
        (length + 2 * pad - apart * (window - 1) - 1) // (step * longer) + 1 == count
        for length, pad, window, apart, step, longer, count in sizes
    )


def _lengthen(conv: Any, stride: _Sizes) -> None:
    """Multiply the stride of a convolution."""
    conv.padding = _padding(conv)
    conv.stride = tuple(own * more for own, more in zip(conv.stride, stride, strict=True))


def _padding(conv: Any) -> _Sizes | None:
    """Return the zeros on each side of a convolution's input, None if the sides differ."""
    if not isinstance(conv.padding, str):
        return tuple(conv.padding)
    if conv.padding == "valid":
        return (0,) * len(conv.kernel_size)
    both = [d * (k - 1) for d, k in zip(conv.dilation, conv.kernel_size, strict=True)]
    return None if any(zeros % 2 for zeros in both) else tuple(zeros // 2 for zeros in both)


def _stride(pool: Any, call: _Call) -> _Sizes:
    """Return the stride of a pool; that of an adaptive one is the length of its windows."""
    lengths = tuple(call.values.shape[2:])
    if isinstance(pool, _ADAPTIVE):
        return tuple(length // count for length, count in zip(lengths, call.found, strict=True))
    return extents(pool.stride, len(lengths))


def _by_channel(path: str, pool: Any, call: _Call, module: nn.Module) -> nn.Module:
    """Return a convolution of each channel alone that starts as the average of the windows."""
    stride, dims, channels = _stride(pool, call), call.values.dim() - 2, call.values.shape[1]
    kind: Any = nn.Conv2d if dims == 2 else nn.Conv1d
    geometries = [{"kernel_size": stride, "stride": stride}]
    if not isinstance(pool, _ADAPTIVE):
        own = {"kernel_size": extents(pool.kernel_size, dims), "stride": stride}
        own |= {"padding": extents(pool.padding, dims), "dilation": extents(pool.dilation, dims)}
        geometries.insert(0, own)
    for geometry in geometries:
        conv = kind(channels, channels, groups=channels, bias=False, **geometry)
        nn.init.constant_(conv.weight, 1 / conv.weight[0].numel())
        with torch.no_grad():
            fits = tuple(conv(call.values.float()).shape[2:]) == call.found
        if fits:
            like = next(module.parameters(), conv.weight)
            conv = conv.to(like.device, like.dtype)
            # Without negative inputs it changes nothing yet, and makes neurons of the values.
            return nn.Sequential(conv, nn.ReLU()) if bool((call.values >= 0).all()) else conv
    raise NetworkError(
        f"The max pool '{path}' makes {call.found} positions of {tuple(call.values.shape[2:])}, "
        "which windows that are all alike do not: leave out ceil_mode, or change its size."
    )
