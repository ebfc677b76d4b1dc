"""Signals as branches of a layer of neurons: a source, pools, and weights or none."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from ltl_core.errors import UnsupportedLayerError
from ltl_core.interop.folding import append, as_matrix, fold, identity, output_shape, regrouped
from ltl_core.interop.linear_maps import (
    Average,
    Kernel,
    LinearMap,
    Matrix,
    Other,
    Scale,
    View,
)
from ltl_core.interop.signals import Signal
from ltl_core.interop.tracing import Place
from ltl_core.network.graph import INPUT
from ltl_core.network.layers import Shape


class Part(NamedTuple):
    """One branch: what feeds it, in which shape, its pools, and its weights."""

    source: str
    shape: Shape
    pools: tuple[Average, ...]
    link: Kernel | Matrix | None  # None: straight


Shapes = Mapping[str, Shape]  # of every layer of neurons, and of the input


def folded(signal: Signal, shapes: Shapes) -> Signal:
    """Return a signal whose maps are as few as possible. Raises UnsupportedLayerError."""
    terms = tuple(term._replace(maps=fold(shapes[term.source], term.maps)) for term in signal.terms)
    return signal._replace(terms=terms)


def stage_shape(signal: Signal, shapes: Shapes, place: Place) -> Shape:
    """Return the shape that neurons behind a folded signal have. Raises UnsupportedLayerError.

    A view changes no element, so neurons have the shape in front of it, if all terms agree.
    """
    found = set[Shape]()
    for source, maps in signal.terms:
        if maps and isinstance(maps[-1], View):
            maps = maps[:-1]
        found.add(output_shape(shapes[source], maps))
    shape = found.pop() if len(found) == 1 else signal.shape
    if len(shape) not in (1, 3):
        raise UnsupportedLayerError(
            place.path,
            place.kind,
            f"neurons form a vector or channels of an image, not a value of shape {shape}; keep "
            "(batch, features) or (batch, channels, rows, columns)",
            place.line,
        )
    return shape


def parts_of(signal: Signal, shapes: Shapes, shape: Shape, path: str) -> list[Part]:
    """Return the branches, of a folded signal, of neurons of `shape`.

    Branches that read the same become one.

    Raises UnsupportedLayerError.
    """
    parts = list[Part]()
    for source, maps in signal.terms:
        viewed = append(shapes[source], maps, View(signal.shape, shape))
        part = _part(source, shapes[source], viewed, shape, path)
        twin = next((i for i, other in enumerate(parts) if _are_twins(part, other)), None)
        if twin is None:
            parts.append(part)
        elif (joined := _joined(parts[twin], part, shape)) is not None:
            parts[twin] = joined
        else:
            parts.append(part)
    return parts


def _part(
    source: str, source_shape: Shape, maps: Sequence[LinearMap], shape: Shape, path: str
) -> Part:
    """Return a branch, from folded maps."""
    if len(shape) == 1 and maps:
        maps = as_matrix(source_shape, maps)
    elif maps and isinstance(maps[-1], Scale):
        maps = append(source_shape, tuple(maps), identity(shape))
    rest = list(maps)
    if rest and isinstance(rest[0], View) and source == INPUT and len(rest[0].shape) == 3:
        source_shape = rest.pop(0).shape
    link: Kernel | Matrix | None = None
    if rest and isinstance(last := rest[-1], Kernel | Matrix):
        link = last
        rest.pop()
    if rest and isinstance(rest[-1], View) and isinstance(link, Matrix):
        rest.pop()
    pools = tuple(pool for pool in rest if isinstance(pool, Average))
    if len(pools) != len(rest):
        wrong = [found for found in rest if not isinstance(found, Average)]
        raise _unfoldable(next((w for w in wrong if isinstance(w, Other)), wrong[0]), path)
    return Part(source, source_shape, pools, link)


def _unfoldable(link: LinearMap, path: str) -> UnsupportedLayerError:
    if isinstance(link, Other):
        return UnsupportedLayerError(
            link.path,
            link.kind,
            "it is linear, but no convolution; only a Linear behind it could take it in, so move "
            "it to the end, or leave it out",
            link.line,
        )
    if isinstance(link, Kernel):
        return UnsupportedLayerError(
            link.paths[-1] if link.paths else path,
            "Conv2d",
            f"put a ReLU between it and the next convolution, '{path}', whose padding adds zeros "
            "between them, or use padding=0 there",
        )
    return UnsupportedLayerError(
        path, "view", "neurons of a vector cannot be read as an image; flatten later"
    )


def _are_twins(part: Part, other: Part) -> bool:
    return (part.source, part.shape, part.pools) == (other.source, other.shape, other.pools)


def _joined(part: Part, other: Part, shape: Shape) -> Part | None:
    """Return two branches that read the same as one, or None if no one kernel does both."""
    first, second = part.link or identity(shape), other.link or identity(shape)
    if isinstance(first, Matrix) and isinstance(second, Matrix):
        paths = (*first.paths, *second.paths)
        return part._replace(link=Matrix(paths, first.weight + second.weight, shape))
    if not isinstance(first, Kernel) or not isinstance(second, Kernel):
        return None
    if first.stride != second.stride:
        return None
    return part._replace(link=_sum(first, second))


def _sum(first: Kernel, second: Kernel) -> Kernel:
    """Return the convolution that gives the sum of two, in the window that covers both."""
    groups = math.gcd(first.groups, second.groups)
    before = tuple(max(pair) for pair in zip(first.before, second.before, strict=True))
    reach = [
        max(b - k.before[axis] + k.window[axis] for k in (first, second))
        for axis, b in enumerate(before)
    ]
    weight = torch.zeros(())
    for kernel in (first, second):
        top, left = (b - own for b, own in zip(before, kernel.before, strict=True))
        high, wide = kernel.window
        sides = (left, reach[1] - left - wide, top, reach[0] - top - high)
        weight = weight + F.pad(regrouped(kernel, groups), sides)
    return Kernel(
        (*first.paths, *second.paths),
        weight,
        first.stride,
        (before[0], before[1]),
        groups,
        first.shape,
    )
