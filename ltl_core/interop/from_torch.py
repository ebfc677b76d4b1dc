"""Import of a torch module as a NetworkSpec with weights, exactly or not at all.

The module is traced with torch.fx on a sample (`tracing`). Its operations become sums of linear
maps between activations (`reading`), these maps become as few layers as possible (`folding`), and
the network is compared with the module at the end (`agreement`).
"""

from typing import NamedTuple

import torch
from torch import Tensor, fx, nn

from ltl_core.errors import NetworkError, UnsupportedLayerError
from ltl_core.interop.agreement import check_agreement
from ltl_core.interop.preparing import prepared
from ltl_core.interop.reading import ReadNetwork, read_trace, refuse_unknown
from ltl_core.interop.refusals import advice_on
from ltl_core.interop.torch_functions import function_reader, module_reader
from ltl_core.interop.tracing import BATCH, OperationError, place_of, trace, value_of
from ltl_core.interop.weighted import wrong_input
from ltl_core.network.spec import NetworkSpec


class _Pair(NamedTuple):
    network: NetworkSpec
    weights: dict[str, Tensor]


class Imported(_Pair):
    """A network and its weights: the tensors that `NetworkSpec.tensor_shapes` names.

    `notes` are sentences about what differs from the module, such as a softmax that is left out.
    """

    notes: tuple[str, ...] = ()


def from_torch(module: nn.Module, input_shape: tuple[int, ...]) -> Imported:
    """Import a feed-forward module as it behaves in eval mode; the module is not changed.

    `input_shape` is the shape of one sample. The network computes what the module computes, to
    1e-5 of the largest output; this is checked on random inputs. Raises UnsupportedLayerError,
    which names the path of a layer that has no counterpart, the line of `forward` that calls it
    and what to use instead; LayerShapeError; NonFiniteError for weights that are no float32; and
    NetworkError, such as DisagreementError.
    """
    shape = _checked_shape(input_shape)
    try:
        read = _import(module, shape, torch.float64)
    except OperationError as error:
        # A module that turns its values into float32 cannot be followed in float64.
        if "type" not in str(error):
            raise _explained(error) from error
        try:
            read = _import(module, shape, torch.float32)
        except OperationError as again:
            raise _explained(again) from again
    imported = Imported(read.network, read.weights)
    imported.notes = read.notes
    return imported


def _import(module: nn.Module, shape: tuple[int, ...], dtype: torch.dtype) -> ReadNetwork:
    copied, rng = prepared(module, dtype), torch.Generator().manual_seed(0)
    inputs = torch.rand(BATCH, *shape, generator=rng, dtype=dtype)
    traced = trace(copied, inputs)
    read = read_trace(traced)
    check_agreement(copied, traced, read, rng)
    return read


def _checked_shape(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    whole = isinstance(input_shape, tuple | list) and all(
        isinstance(extent, int) for extent in input_shape
    )
    shape = tuple(input_shape) if whole else ()
    if not 1 <= len(shape) <= 3 or min(shape) < 1:
        raise NetworkError(
            f"`input_shape` is {input_shape}, but one sample has one to three dimensions, each of "
            "at least 1: (features,), (channels, steps) or (channels, rows, columns)."
        )
    return shape


def _explained(error: OperationError) -> NetworkError:
    """Return the error that names the cause of an operation that fails."""
    node, place = error.node, place_of(error.node)
    # An operation that is not known is the better reason, if one came before.
    refuse_unknown(error.root, node)
    read = module_reader(error.module) if error.module else function_reader(node.target)
    if read is None:
        return UnsupportedLayerError(place.path, place.kind, advice_on(place.kind), place.line)
    first = node.args[0] if node.args else None
    found = tuple(value_of(first).shape[1:]) if isinstance(first, fx.Node) else ()
    return wrong_input(place.path, error.module, found) or error
