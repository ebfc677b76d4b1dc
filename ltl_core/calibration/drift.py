"""How far a chip has drifted: its answers to a fixed stimulus, then and now. No labels are needed.

With r the rates that column c of a layer answers with now, and q those of the day its weights were
published, both means of a few probes of one moment,

    d = sqrt(max(mean_c (r - q)^2 - n(r) - n(q), 0)) / s,    s^2 = max(mean_c (q - mean q)^2, s0^2)

is the distance of that layer, a number without unit: the change of its columns as a multiple of the
spread between them. n is the mean over the columns of the variance that chance leaves in the mean
of the probes, so that a chip which only fluctuates has no distance on average. The drift score is
the root mean square of d over the layers; a score of 1 says that the columns have moved as far as
they were apart.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.chip import ChipBackend, Placement
from ltl_core.default_probe import probe_chip
from ltl_core.errors import FingerprintError

PROBES = 4  # number of probes of one moment: their mean is the fingerprint, their spread its noise
_LEAST_SPREAD = 0.01  # s0, spikes a step: the unit of a layer whose columns answer alike


class MeanFingerprint(NamedTuple):
    """The mean of a few probes of one moment."""

    rates: dict[str, Float[Tensor, " _column"]]
    noise: dict[str, float] | None  # variance of one probe, mean over the columns; None if unknown
    probes: int
    chip_time: float  # the chip's clock at the last probe, s

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprint as JSON data; rates are rounded to 1e-6."""
        rates = {name: [round(rate, 6) for rate in of.tolist()] for name, of in self.rates.items()}
        return {
            "rates": rates,
            "noise": self.noise,
            "probes": self.probes,
            "chip_time_s": self.chip_time,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "MeanFingerprint":
        """Read data of `to_json`; a single probe has no noise. Raises FingerprintError."""
        try:
            rates = {str(name): torch.tensor(of) for name, of in data["rates"].items()}
            noise = data.get("noise")
            return cls(rates, noise, int(data.get("probes", 1)), float(data["chip_time_s"]))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise FingerprintError(f"it cannot be read: {error!r}") from error


class LayerDrift(NamedTuple):
    """The drift of one layer."""

    layer: str
    score: float  # d: the change without its noise, as a multiple of the spread
    change: float  # root mean square over the columns, noise included, spikes a step
    noise: float  # the change that chance alone would make, spikes a step
    spread: float  # standard deviation of the rates at publication, spikes a step


class Drift(NamedTuple):
    """The drift of a chip since its weights were published."""

    score: float  # root mean square of the layers' scores
    layers: tuple[LayerDrift, ...]


def measure_fingerprint(
    chip: ChipBackend, probes: int = PROBES, *, placement: Placement | None = None
) -> MeanFingerprint:
    """Probe the chip a few times in a row, and average. Raises what the chip raises.

    A chip without a probe of its own needs `placement`, what stands on it.
    """
    answers = [probe_chip(chip, placement) for _ in range(probes)]
    rates: dict[str, Tensor] = {}
    noise: dict[str, float] = {}
    for name in answers[0].rates:
        seen = torch.stack([answer.rates[name] for answer in answers]).double()
        rates[name] = seen.mean(0)
        noise[name] = float(seen.var(0).mean()) if probes > 1 else 0.0
    return MeanFingerprint(rates, noise if probes > 1 else None, probes, answers[-1].chip_time)


def drift_between(now: MeanFingerprint, then: MeanFingerprint) -> Drift:
    """Return how far `now` is from `then`, by the equations at the head of this file.

    Raises FingerprintError if the two are of different layers or columns.
    """
    if now.rates.keys() != then.rates.keys():
        published, measured = (", ".join(one.rates) for one in (then, now))
        raise FingerprintError(
            f"it is of the layers {published}, but the chip answers with {measured}"
        )
    layers = tuple(_layer_drift(name, now, then) for name in now.rates)
    squares = [layer.score**2 for layer in layers]
    return Drift(math.sqrt(sum(squares) / len(squares)), layers)


def _layer_drift(name: str, now: MeanFingerprint, then: MeanFingerprint) -> LayerDrift:
    rates, published = now.rates[name].double(), then.rates[name].double()
    if rates.shape != published.shape:
        raise FingerprintError(
            f"its layer '{name}' has {len(published)} columns, but the chip answers with "
            f"{len(rates)}"
        )
    changed = float((rates - published).square().mean())
    noise = _noise(name, now, then) / now.probes + _noise(name, then, now) / then.probes
    spread = max(float(published.std(correction=0)), _LEAST_SPREAD)
    score = math.sqrt(max(changed - noise, 0.0)) / spread
    return LayerDrift(name, score, math.sqrt(changed), math.sqrt(noise), spread)


def _noise(name: str, of: MeanFingerprint, otherwise: MeanFingerprint) -> float:
    """Return the noise variance of one probe; if `of` does not know it, that of `otherwise`."""
    for one in (of, otherwise):
        if one.noise is not None:
            return float(one.noise[name])
    return 0.0
