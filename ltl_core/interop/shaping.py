"""Operations that move elements: views, concatenation, slices, padding, permutations."""

import operator
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from ltl_core.interop.calls import Call
from ltl_core.interop.linear_maps import Kernel, LinearMap, Matrix, Other, View
from ltl_core.interop.pooling import subsampled
from ltl_core.interop.signals import Activated, Several, Signal, Value, total
from ltl_core.interop.tracing import BATCH
from ltl_core.interop.weighted import as_image


def unchanged(call: Call, *_args: object, **_words: object) -> Value:
    """Read an operation that changes nothing in eval mode, such as a module of dropout."""
    return call.value


def dropout(call: Call, *settings: Any, **words: Any) -> Value:
    """Read `F.dropout`, which changes nothing if `training` is false.

    Raises UnsupportedLayerError if it is true, as by default: the values are random then.
    """
    if words.get("training", settings[1] if len(settings) > 1 else True):
        raise call.refused(
            "it drops values in eval mode too, so the module gives random answers; pass "
            "training=self.training"
        )
    return call.value


def viewed(call: Call, *_shape: object, **_words: object) -> Signal:
    """Read `view`, `reshape`, `flatten` and the like: the same elements in the same order.

    Raises UnsupportedLayerError if elements of several samples are mixed.
    """
    return call.view()


def moved(call: Call, *args: Any, **words: Any) -> Signal:
    """Read a method that reorders the elements of each sample, such as `permute`."""
    function = call.place.kind
    return call.other(lambda values: getattr(values, function)(*args, **words))


def concatenated(call: Call, values: Any, dim: int = 0, **words: Any) -> Value:
    """Read a concatenation along the channels.

    Neurons of one ceiling that read the same become one wider layer; anything else becomes the sum
    of its parts, each with zeros in the other channels. Raises UnsupportedLayerError for a
    concatenation along another dimension.
    """
    axis = words.get("axis", dim)
    if (wider := _one_wider_layer(call, values, axis)) is not None:
        return wider
    signals = [call._replace(value=_as_value(call, value)).signal for value in values]
    if axis % (len(call.shape) + 1) != 1:
        raise call.refused("values are concatenated along their channels only, with dim=1")
    start, placed = 0, list[Signal]()
    for signal in signals:
        placed.append(_placed(call, signal, start))
        start += signal.shape[0]
    return total(placed, "")


def _one_wider_layer(call: Call, values: Any, axis: int) -> Activated | None:
    """Return layers of neurons that read the same, concatenated, as one, or None."""
    activated = [v for v in values if isinstance(v, Activated) and not call.reader.is_read(v)]
    alike = len(activated) == len(values) and len({value.ceiling for value in activated}) == 1
    if not alike or axis % (len(call.shape) + 1) != 1:
        return None
    inner = concatenated(call, [value.signal for value in activated], dim=axis)
    if not isinstance(inner, Signal) or not call.reader.is_one_layer(inner):
        return None
    return Activated(inner, activated[0].ceiling, call.place.path)


def padded(call: Call, pad: Any, mode: str = "constant", value: float | None = None) -> Signal:
    """Read `F.pad` with zeros, which the next convolution of an image takes in.

    Raises UnsupportedLayerError if it pads with anything else.
    """
    if mode != "constant" or value:
        raise call.refused("it pads with other values than zeros; pad with zeros")
    shape, pads = call.signal.shape, [*pad, *[0] * (2 * len(call.shape) - len(pad))]
    if len(shape) == 1:
        return call.other(lambda values: F.pad(values, tuple(pad)))
    image, result, dims = as_image(shape), as_image(call.shape), len(shape) - 1
    first = pads[2 * dims]
    inner = (image[0], *result[1:])
    before = (pads[2], pads[0]) if dims == 2 else (0, pads[0])
    # Each channel is padded alone, so that a convolution of groups behind it stays one of groups.
    ones = torch.ones(image[0], 1, 1, 1, dtype=torch.float64)
    around = Kernel((), ones, (1, 1), before, image[0], inner)
    maps: list[LinearMap] = [View(shape, image), around]
    if (first, result[0]) != (0, image[0]):
        weight = _selection(image[0], first, result[0])
        maps.append(Kernel((), weight, (1, 1), (0, 0), 1, result))
    return call.mapped(*maps, View(result, call.shape))


def padded_by_module(call: Call, module: Any) -> Signal:
    """Read a module ZeroPad or ConstantPad. Raises UnsupportedLayerError if it pads no zeros."""
    return padded(call, module.padding, "constant", getattr(module, "value", 0.0))


def item(call: Call, index: Any) -> Value:
    """Read `x[...]`: one of several outputs, channels, or every n-th position.

    Raises UnsupportedLayerError if it takes single samples.
    """
    if isinstance(call.value, Several) and isinstance(index, slice):
        return Several(call.value.signals[index])
    if isinstance(call.value, Several):
        return call.value.signals[int(index)]
    steps = index if isinstance(index, tuple) else (index,)
    if Ellipsis in [step for step in steps if not isinstance(step, Tensor)]:
        return call.other(operator.itemgetter(index))
    whole = all(step == slice(None) for step in steps[:2] if isinstance(step, slice))
    strides = [step.step or 1 for step in steps[2:] if isinstance(step, slice)]
    plain = all(isinstance(s, slice) and s.start in (None, 0) and s.stop is None for s in steps)
    if whole and plain and len(strides) == len(call.shape) - 1 == 2:
        return subsampled(call, (int(strides[0]), int(strides[1])))
    if len(steps) == 2 and steps[0] == slice(None) and len(call.shape) == 3:
        return _channels(call, torch.arange(call.signal.shape[0])[steps[1]])
    return call.other(operator.itemgetter(index))


def parts(call: Call, count: Any, dim: int = 0) -> Value:
    """Read `chunk` or `split` along the channels.

    Raises UnsupportedLayerError for another dimension.
    """
    signal = call.signal
    if dim % (len(signal.shape) + 1) != 1:
        raise call.refused("values are divided along their channels only, with dim=1")
    function = getattr(torch, call.place.kind)
    groups = function(torch.arange(signal.shape[0]), count)
    if len(signal.shape) == 1:
        return Several(tuple(signal.mapped(_picked(call, group)) for group in groups))
    return Several(tuple(_chosen(signal, group) for group in groups))


def _as_value(call: Call, value: Any) -> Value:
    """Return a constant with a batch as a value, and values as they are."""
    if not isinstance(value, Tensor):
        return cast(Value, value)
    return Signal((), call.tensor(value, "")[0], tuple(value.shape[1:]))


def _picked(call: Call, index: Tensor) -> LinearMap:
    weight = torch.eye(call.signal.shape[0], dtype=torch.float64)[index]
    return Matrix((), weight, (len(index),))


def _channels(call: Call, index: Tensor) -> Signal:
    if call.batch != BATCH or index.dim() != 1:
        raise call.refused("it takes single samples or channels; take a range, as in x[:, :8]")
    return _chosen(call.signal, index)


def _chosen(signal: Signal, index: Tensor) -> Signal:
    """Return some channels of an image or sequence."""
    if torch.equal(index, torch.arange(signal.shape[0])):
        return signal
    shape, image = signal.shape, as_image(signal.shape)
    weight = torch.eye(shape[0], dtype=torch.float64)[index].view(len(index), shape[0], 1, 1)
    result = (len(index), *image[1:])
    kernel = Kernel((), weight, (1, 1), (0, 0), 1, result)
    return signal.mapped(View(shape, image), kernel, View(result, (len(index), *shape[1:])))


def _placed(call: Call, signal: Signal, start: int) -> Signal:
    """Return a value at its place among the channels of a concatenation, with zeros beside it."""
    shape, result = signal.shape, call.shape
    if len(shape) == 1:
        end = result[0] - start - shape[0]
        return signal.mapped(Other(*call.place, lambda v: F.pad(v, (start, end)), result))
    image, wide = as_image(shape), as_image(result)
    weight = _selection(shape[0], start, result[0])
    kernel = Kernel((), weight, (1, 1), (0, 0), 1, wide)
    return signal.mapped(View(shape, image), kernel, View(wide, result))


def _selection(channels: int, start: int, total_channels: int) -> Tensor:
    """Return weights of a 1x1 convolution that puts channels at their place among others."""
    weight = torch.zeros(total_channels, channels, 1, 1, dtype=torch.float64)
    weight[start : start + channels, :, 0, 0] = torch.eye(channels, dtype=torch.float64)
    return weight
