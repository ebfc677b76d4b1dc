"""Average pools or convolutions in place of max pools, which spikes cannot compute."""

import copy
from typing import Any, Literal, cast

from torch import nn

from ltl_core.errors import NetworkError, SettingError
from ltl_core.interop.preparing import without_wrappers
from ltl_core.interop.strided_pools import put_convolutions

_POOLS = (nn.MaxPool1d, nn.MaxPool2d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d)
_ADAPTIVE: dict[type[nn.Module], Any] = {
    nn.AdaptiveMaxPool1d: nn.AdaptiveAvgPool1d,
    nn.AdaptiveMaxPool2d: nn.AdaptiveAvgPool2d,
}


def replace_max_pool(
    module: nn.Module,
    by: Literal["average-pool", "strided-convolution"] = "average-pool",
    *,
    input_shape: tuple[int, ...] | None = None,
) -> nn.Module:
    """Return a copy of a module with something else in place of each max pool.

    The copy computes something else, so fine-tune it for a few epochs. An average pool keeps the
    windows of the max pool unless it is padded, dilated or in ceil_mode: then they are as long as
    its stride, which keeps the size of the output if that of the input is even.

    With "strided-convolution", which needs the `input_shape` of one sample, a convolution in front
    of a pool takes the pool's stride over, and the pool goes, where the output keeps its size: a
    quarter of the neurons for a stride of 2. Any other max pool becomes a convolution of each
    channel alone, which starts as the average of its windows and learns in the tuning.

    Calls of `F.max_pool2d` are not found. Raises NetworkError if there is no max pool to replace,
    or a convolution cannot stand in its place, and SettingError for other values of `by` and a
    missing `input_shape`.
    """
    copied = without_wrappers(module)
    places = [
        (path, child)
        for path, child in copied.named_modules(remove_duplicate=False)
        if path and isinstance(child, _POOLS)
    ]
    if not places:
        raise NetworkError(
            "The module has no MaxPool layer to replace: write F.avg_pool2d where its forward "
            "calls F.max_pool2d."
        )
    if by == "strided-convolution":
        if input_shape is None:
            raise SettingError(
                "Convolutions have as many channels as what they read: give `input_shape`, the "
                "shape of one sample."
            )
        for path, child in places:  # one module in two places becomes two
            copied.set_submodule(path, copy.copy(child))
        put_convolutions(copied, input_shape)
    elif by == "average-pool":
        for path, child in places:
            copied.set_submodule(path, _average(child))
    else:
        raise SettingError(
            f"Max pools are not replaced by '{by}': say 'average-pool' or 'strided-convolution'."
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
