"""The methods that a chip may be calibrated by. Readable without torch."""

from enum import StrEnum

from ltl_core.chip import Observable


class MethodName(StrEnum):
    """How a chip is corrected by what it was measured to do; all but the first are baselines."""

    LTL = "ltl"  # each layer by its own error: the settings' rule
    TANDEM = "tandem"  # Tandem Learning: measured counts forward, an ANN's error backward
    SURROGATE = "surrogate"  # end to end through time: measured spikes forward
    METROPOLIS_HASTINGS = "metropolis-hastings"  # of trims, without gradients
    SPSA = "spsa"  # simultaneous perturbation of trims, without gradients
    ADABS = "adabs"  # a scale and a shift a column, in trims, from statistics of column sums

    @property
    def moves_cells(self) -> bool:
        """Whether the method can move weights; if not, it moves trims alone."""
        return self in (MethodName.LTL, MethodName.TANDEM, MethodName.SURROGATE)

    @property
    def presentations(self) -> int:
        """How often one step presents its batch."""
        return 2 if self in (MethodName.METROPOLIS_HASTINGS, MethodName.SPSA) else 1

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The observables from which the method can learn."""
        match self:
            case MethodName.SURROGATE:
                return (Observable.SPIKES, Observable.WINDOW, Observable.MEMBRANE)
            case MethodName.ADABS:
                return (Observable.MEMBRANE,)
        return tuple(Observable)
