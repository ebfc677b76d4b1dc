"""The non-idealities of the benchmark of robustness: chips of each kind and strength.

The first four are those of the LTL paper. Its levels are not known here, so the strengths are a
sweep. The others are ours: neurons dead for good, thresholds and time constants that differ from
neuron to neuron, noise added to membranes, and memory cells that drift; their strengths are a
fraction of the neurons, a relative standard deviation (twice), and days since the write.
"""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from chip_sim.chip import SimulatedChip, make_chip
from chip_sim.presets import preset
from chip_sim.spec import ChipSpec, DeviceSpec, NeuronSpec, tiles_needed
from ltl_core.network.spec import NetworkSpec

SETTLE_S = 60.0  # of the chip's clock, after the golden student was written
_DAY = 86_400.0  # s
_FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.4)
_DAYS = (1.0, 30.0)


class Kind(NamedTuple):
    """One non-ideality."""

    strengths: tuple[float, ...]
    spec: Callable[[float], ChipSpec]
    age_unit: float | None = None  # s for a strength of one; None: the chip is measured fresh

    def age(self, strength: float) -> float:
        """Return how long a chip rests after it was written, s of its own clock."""
        return SETTLE_S if self.age_unit is None else strength * self.age_unit


def _published(kind: str, strength: float) -> ChipSpec:
    return preset(f"paper-{kind}-{strength:g}")


def _neurons(fields: tuple[str, ...], strength: float) -> ChipSpec:
    neuron = NeuronSpec.model_validate(dict.fromkeys(fields, strength))
    return _only("neurons").model_copy(update={"neuron": neuron})


def _drifting(model: str, strength: float) -> ChipSpec:  # noqa: ARG001 - the age is the strength
    named = preset(model)
    device = {"model": model, "g_max": named.device.g_max, "after_data": "hold"}
    update = {"device": DeviceSpec.model_validate(device), "write": named.write}
    return _only(f"{model}-drift").model_copy(update=update)


def _only(model: str) -> ChipSpec:
    """Return a chip with the converters of the paper's chips and nothing else."""
    return ChipSpec(model=model, converter=preset("paper-mismatch").converter)


PAPER: Mapping[str, Kind] = MappingProxyType(
    {
        **{
            kind: Kind(_FRACTIONS, partial(_published, kind))
            for kind in ("mismatch", "thermal", "silencing")
        },
        "quantisation": Kind((8, 6, 5, 4, 3, 2), partial(_published, "quantisation")),
    }
)
OWN: Mapping[str, Kind] = MappingProxyType(
    {
        "dead": Kind(_FRACTIONS, partial(_neurons, ("dead",))),
        "spread": Kind(_FRACTIONS, partial(_neurons, ("threshold_mismatch", "leak_mismatch"))),
        "membrane-noise": Kind(_FRACTIONS, partial(_neurons, ("thermal_noise",))),
        **{
            f"{model}-drift": Kind(_DAYS, partial(_drifting, model), _DAY)
            for model in ("pcm", "hermes", "reram")
        },
    }
)
KINDS: Mapping[str, Kind] = MappingProxyType({**PAPER, **OWN})


class Case(NamedTuple):
    """One chip of one kind."""

    kind: str
    strength: float
    seed: int
    readout_quantised: bool = True  # of quantisation: offline, the readout has full precision

    def chip(self, network: NetworkSpec) -> SimulatedChip:
        """Make the chip, fresh from the fab, with as many tiles as the network takes."""
        spec = KINDS[self.kind].spec(self.strength)
        paper = spec.paper.model_copy(update={"readout_quantised": self.readout_quantised})
        tiles = max(spec.tiles, tiles_needed(network, spec))
        spec = spec.model_copy(update={"paper": paper, "tiles": tiles})
        return make_chip(f"{self.kind}-{self.strength:g}-{self.seed}", spec, self.seed)
