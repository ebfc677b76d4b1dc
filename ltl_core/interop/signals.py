"""Values inside an imported module: sums of linear maps of neurons, and a constant."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ltl_core.interop.linear_maps import LinearMap, Scale
from ltl_core.interop.tracing import Place
from ltl_core.network.layers import Shape


class Term(NamedTuple):
    """Neurons, or the network's input, and the linear maps behind them."""

    source: str  # name of the layer of neurons, or INPUT
    maps: tuple[LinearMap, ...] = ()


class Signal(NamedTuple):
    """A sum of terms and a constant, before it meets an activation."""

    terms: tuple[Term, ...]
    constant: Tensor | None  # of the value's shape; None is zero
    shape: Shape
    name: str = ""  # of the addition that made it

    def mapped(self, *maps: LinearMap) -> "Signal":
        """Return the signal behind linear maps: of a sum, the sum of the maps."""
        signal = self
        for link in maps:
            terms = tuple(term._replace(maps=(*term.maps, link)) for term in signal.terms)
            constant = signal.constant
            if constant is not None:
                constant = link(constant.unsqueeze(0)).squeeze(0)
            signal = Signal(terms, constant, link.shape, signal.name)
        return signal

    def plus(self, constant: Tensor | float) -> "Signal":
        """Return the signal and a constant."""
        whole = torch.as_tensor(constant, dtype=torch.float64).expand(self.shape)
        if not bool(whole.any()):
            return self
        return self._replace(constant=whole if self.constant is None else self.constant + whole)

    def times(self, factor: Tensor | float) -> "Signal":
        """Return the signal times a factor for each channel, or one for all."""
        factor = torch.as_tensor(factor, dtype=torch.float64).expand(self.shape[:1])
        return self.mapped(Scale(factor.clone(), self.shape))


class Activated(NamedTuple):
    """A signal behind a ReLU, clipped at the ceiling if there is one; not yet a layer.

    It becomes one when it is read, so that a second activation can still lower its ceiling.
    """

    signal: Signal
    ceiling: float | None
    path: str


class Score(NamedTuple):
    """Logits behind a softmax or sigmoid, which only the module's end may have."""

    signal: Signal
    place: Place
    function: Callable[[Tensor], Tensor]


class Several(NamedTuple):
    """The outputs of an operation that has more than one."""

    signals: tuple[Signal, ...]


Value = Signal | Activated | Score | Several


def total(signals: Sequence[Signal], name: str) -> Signal:
    """Return the sum of signals of one shape."""
    terms = tuple(term for signal in signals for term in signal.terms)
    constants = [signal.constant for signal in signals if signal.constant is not None]
    constant = torch.stack(constants).sum(0) if constants else None
    return Signal(terms, constant, signals[0].shape, name)
