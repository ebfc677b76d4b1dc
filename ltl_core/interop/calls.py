"""One operation of a traced module, as the functions that read operations see it."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from ltl_core.errors import UnsupportedLayerError
from ltl_core.interop.float32 import check_float32
from ltl_core.interop.linear_maps import LinearMap, Other, View
from ltl_core.interop.refusals import ACCEPTED
from ltl_core.interop.signals import Activated, Score, Several, Signal, Value
from ltl_core.interop.tracing import BATCH, Place
from ltl_core.network.layers import Shape, size


class Reader(Protocol):
    """What an operation may ask of the import that it is part of."""

    def settle(self, value: Signal | Activated) -> Signal:
        """Return a value as a signal: an activation that is read becomes a layer of neurons."""
        ...

    def is_one_layer(self, signal: Signal) -> bool:
        """Return whether neurons behind a signal need one matrix only, and no addition."""
        ...

    def is_read(self, value: Activated) -> bool:
        """Return whether an activation is a layer already."""
        ...

    def read_input(self, signal: Signal) -> Signal:
        """Return a signal before an operation that is not a scale or a shift of the input."""
        ...


class Call(NamedTuple):
    """One operation: where it comes from, what it reads, and the shape that it puts out."""

    place: Place
    reader: Reader
    value: Value
    shape: Shape  # without batch; of several outputs, empty
    batch: int  # number of samples that come out, which must be those that go in
    module: nn.Module | None

    @property
    def signal(self) -> Signal:
        """Signal that the operation reads; an activation becomes a layer of neurons.

        Raises UnsupportedLayerError if it is not a single value.
        """
        return self.reader.read_input(self.plain)

    @property
    def plain(self) -> Signal:
        """Signal that the operation reads, with a scale and shift of the input left in it.

        It is for operations that may become part of that scale. Raises UnsupportedLayerError if it
        is not a single value.
        """
        if isinstance(self.value, Score):
            raise self._replace(place=self.value.place).refused(
                f"only the end of a module may have one, which is left out; {ACCEPTED}"
            )
        if isinstance(self.value, Several):
            raise self.refused("it reads several values; give it one")
        return self.reader.settle(self.value)

    def refused(self, advice: str) -> UnsupportedLayerError:
        """Return the error for an operation that cannot be imported."""
        path = self.place.path or "(the module itself)"
        return UnsupportedLayerError(path, self.place.kind, advice, self.place.line)

    def mapped(self, *maps: LinearMap) -> Signal:
        """Return what the operation reads, behind linear maps."""
        self.check_batch()
        return self.signal.mapped(*maps)

    def check_batch(self) -> None:
        """Raise UnsupportedLayerError if the operation joins or divides samples."""
        if self.batch != BATCH:
            raise self.refused(
                f"it makes {self.batch} samples of shape {self.shape} out of {BATCH}; keep the "
                "batch apart, as `torch.flatten(x, 1)` does"
            )

    def view(self) -> Signal:
        """Return what the operation reads in the shape that it puts out."""
        self.check_batch()
        value = self.plain
        if size(value.shape) != size(self.shape):
            raise self.refused("it changes the number of elements of a sample")
        return value.mapped(View(value.shape, self.shape))

    def other(self, function: Any) -> Signal:
        """Return what the operation reads behind a linear function of any kind."""
        return self.mapped(Other(*self.place, function, self.shape))

    def tensor(self, value: Any, name: str) -> Tensor:
        """Return a constant as float64. Raises NonFiniteError."""
        found = torch.as_tensor(value).detach().double()
        check_float32(f"{self.place.path}.{name}" if name else self.place.path, found)
        return found
