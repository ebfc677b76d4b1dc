"""How far a chip has drifted: its answers to a fixed stimulus, then and now. No labels are needed.

With r the rates that column c of a layer shows now, and q those that it showed when its weights
were published, both means of a few probes of one moment,

    d = sqrt(max(mean_c (r - q)^2 - n(r) - n(q), 0)) / s,    s^2 = max(mean_c (q - mean q)^2, s0^2)

is the distance of that layer, without dimension: what its columns changed by, in units of what they
differed by. n is the mean over the columns of the variance that chance leaves in the mean of the
probes, so that a chip which only fluctuates shows no distance on the average. The drift score is
the root mean square of d over the layers; a score of 1 says that the columns have moved as far as
they stood apart.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import ChipBackend
from ltl_core.errors import FingerprintError

PROBES = 4  # of one moment: their mean is the fingerprint, their differences are its noise
_LEAST_SPREAD = 0.01  # s0: a layer whose columns answer alike is measured by this rate


class MeanFingerprint(NamedTuple):
    """The mean of some probes of one moment."""

    rates: dict[str, Float[Tensor, " _column"]]
    noise: dict[str, float] | None  # variance of one probe, mean over the columns; None: not known
    probes: int
    chip_time: float  # s, of the last one

    def to_json(self) -> dict[str, Any]:
        """As plain names and numbers."""
        rates = {name: [round(rate, 6) for rate in of.tolist()] for name, of in self.rates.items()}
        return {
            "rates": rates,
            "noise": self.noise,
            "probes": self.probes,
            "chip_time_s": self.chip_time,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MeanFingerprint":
        """What `to_json` wrote; a lone probe has no noise. Raises FingerprintError."""
        try:
            rates = {str(name): torch.tensor(of) for name, of in data["rates"].items()}
            noise = data.get("noise")
            return cls(rates, noise, int(data.get("probes", 1)), float(data["chip_time_s"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FingerprintError(f"it cannot be read: {error!r}") from error


class LayerDrift(NamedTuple):
    """What became of one layer."""

    layer: str
    score: float  # d: what is left of the change without its noise, in parts of the spread
    change: float  # root mean square over the columns, in spikes a step, noise included
    noise: float  # what chance alone would change it by
    spread: float  # of the rates at publication


class Drift(NamedTuple):
    """The distance from publication."""

    score: float
    layers: tuple[LayerDrift, ...]


def read_fingerprint(chip: ChipBackend, probes: int = PROBES) -> MeanFingerprint:
    """Probe the chip a few times in a row."""
    answers = [chip.probe() for _ in range(probes)]
    rates: dict[str, Tensor] = {}
    noise: dict[str, float] = {}
    for name in answers[0].rates:
        seen = torch.stack([answer.rates[name] for answer in answers]).double()
        rates[name] = seen.mean(0)
        noise[name] = float(seen.var(0).mean()) if probes > 1 else 0.0
    return MeanFingerprint(rates, noise if probes > 1 else None, probes, answers[-1].chip_time)


def drift(now: MeanFingerprint, then: MeanFingerprint) -> Drift:
    """How far `now` is from `then`; the equations stand above. Raises FingerprintError."""
    if now.rates.keys() != then.rates.keys():
        published, shown = (", ".join(one.rates) for one in (then, now))
        raise FingerprintError(f"it is of the layers {published}, but the chip shows {shown}")
    layers = tuple(_layer_drift(name, now, then) for name in now.rates)
    squares = [layer.score**2 for layer in layers]
    return Drift(math.sqrt(sum(squares) / len(squares)), layers)


def _layer_drift(name: str, now: MeanFingerprint, then: MeanFingerprint) -> LayerDrift:
    rates, published = now.rates[name].double(), then.rates[name].double()
    if rates.shape != published.shape:
        raise FingerprintError(
            f"its layer '{name}' has {len(published)} columns, but the chip shows {len(rates)}"
        )
    changed = float((rates - published).square().mean())
    noise = _noise(name, now, then) / now.probes + _noise(name, then, now) / then.probes
    spread = max(float(published.std(correction=0)), _LEAST_SPREAD)
    score = math.sqrt(max(changed - noise, 0.0)) / spread
    return LayerDrift(name, score, math.sqrt(changed), math.sqrt(noise), spread)


def _noise(name: str, of: MeanFingerprint, otherwise: MeanFingerprint) -> float:
    """Of one probe; a fingerprint that does not know its noise is taken to have the other's."""
    for one in (of, otherwise):
        if one.noise is not None:
            return float(one.noise[name])
    return 0.0
