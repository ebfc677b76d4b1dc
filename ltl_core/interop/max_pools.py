"""Average pools in place of max pools, which spikes cannot compute."""

import copy
from typing import Any, cast

from torch import nn

from ltl_core.errors import NetworkError
from ltl_core.interop.preparing import unwrapped

_ADAPTIVE: dict[type[nn.Module], Any] = {
    nn.AdaptiveMaxPool1d: nn.AdaptiveAvgPool1d,
    nn.AdaptiveMaxPool2d: nn.AdaptiveAvgPool2d,
}


def replace_max_pool(module: nn.Module) -> nn.Module:
    """Return a copy of a module with an average pool in place of each max pool.

    The copy computes something else, so fine-tune it for a few epochs. A pool keeps its windows
    unless it is padded, dilated or in ceil_mode: then they are as long as its stride, which keeps
    the size of the output if that of the input is even. Calls of `F.max_pool2d` are not found.
    Raises NetworkError if there is no max pool to replace.
    """
    copied = copy.deepcopy(unwrapped(module))
    places = [
        (parent, name, child)
        for parent in copied.modules()
        for name, child in parent.named_children()
        if isinstance(child, (nn.MaxPool1d, nn.MaxPool2d, *_ADAPTIVE))
    ]
    for parent, name, child in places:
        setattr(parent, name, _average(child))
    if not places:
        raise NetworkError(
            "The module has no MaxPool layer to replace: write F.avg_pool2d where its forward "
            "calls F.max_pool2d."
        )
    return copied


def _average(pool: Any) -> nn.Module:
    for kind, adaptive in _ADAPTIVE.items():
        if isinstance(pool, kind):
            return cast(nn.Module, adaptive(pool.output_size))
    average: Any = nn.AvgPool2d if isinstance(pool, nn.MaxPool2d) else nn.AvgPool1d
    if not _any(pool.stride, 1):
        return cast(nn.Module, average(pool.kernel_size, pool.stride, pool.padding))
    if _any(pool.padding) or _any(pool.dilation, 1) or pool.ceil_mode:
        return cast(nn.Module, average(pool.stride, pool.stride))
    return cast(nn.Module, average(pool.kernel_size, pool.stride))


def _any(value: int | tuple[int, ...], usual: int = 0) -> bool:
    """Return whether a size differs from the usual in any dimension."""
    return value != usual and value != (usual,) * 2
