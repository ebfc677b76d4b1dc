"""The neuron at the end of a column: it leaks, integrates and fires, with mismatch and noise."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from chip_sim.gaussian_table import GaussianTable, cut
from chip_sim.identity import NeuronMismatch
from chip_sim.paper import kept
from chip_sim.second_thread import SecondThread

_SHORTEST = 0.05  # fraction of the nominal time constant: no circuit leaks faster


class NeuronParams(NamedTuple):
    """The neurons of a layer with mismatch and trims; [column, *one] stands for all positions."""

    threshold: Float[Tensor, "column *one"]  # code units; infinite where the comparator is dead
    decay: Float[Tensor, "column *one"]  # fraction of the membrane left after one step
    after_spike: Float[Tensor, "column *one"]  # fraction of the membrane left after a spike
    bias: Float[Tensor, "column *one"]  # added at every step, code units
    thermal_noise: float  # standard deviation in each step, code units
    window: float | Float[Tensor, "column *_position"]  # half width of the WINDOW flag, code units
    silencing: float = 0.0  # probability that a spike is deleted


class Registers(NamedTuple):
    """What the digital registers of a layer set, in code units."""

    threshold: float
    decay: float  # at the chip's temperature
    threshold_trim: Float[Tensor, " column"]
    bias_trim: Float[Tensor, " column"]
    leak_factor: Float[Tensor, " column"] | float = 1.0  # multiple of the time constant


class Activity(NamedTuple):
    """What neurons did in every step; window flag and membrane are None if not asked for."""

    spikes: Float[Tensor, "time batch column *position"]  # 0 or 1
    window: Bool[Tensor, "time batch column *position"] | None
    membrane: Float[Tensor, "time batch column *position"] | None

    def of(self, samples: slice) -> "Activity":
        """Return views of what belongs to some samples."""
        window, membrane = (f if f is None else f[:, samples] for f in (self.window, self.membrane))
        return Activity(self.spikes[:, samples], window, membrane)


class NeuronRecord(NamedTuple):
    """What to record beside the spikes."""

    window: bool
    membrane: bool


def neuron_params(
    registers: Registers, mismatch: NeuronMismatch, thermal_noise: float, window: float
) -> NeuronParams:
    """Return the neurons that circuits with this mismatch m make of the registers.

    threshold = T (1 + m) + trim. decay = d ** (1 / (f (1 + m))): a time constant longer by the
    fraction m and f times that. A spike takes away the fraction 1 + m of the membrane. The bias is
    (1 + m) (1 + m_paper) times what is set. `thermal_noise` is a fraction of the threshold;
    `window` is in code units.
    """
    longer = (1 + mismatch.leak) * registers.leak_factor
    decay = registers.decay ** (1 / longer.clamp(min=_SHORTEST))
    threshold = registers.threshold * (1 + mismatch.threshold) + registers.threshold_trim
    return NeuronParams(
        threshold=torch.where(mismatch.dead, torch.inf, threshold),
        decay=decay,
        after_spike=-decay * mismatch.reset,
        bias=registers.bias_trim * (1 + mismatch.bias) * (1 + mismatch.paper_bias),
        thermal_noise=thermal_noise * registers.threshold,
        window=window,
    )


def integrate_and_fire(
    sums: Float[Tensor, "time batch column *position"],
    params: NeuronParams,
    record: NeuronRecord,
    rng: torch.Generator,
    out: Float[Tensor, "time batch column *position"] | None = None,
    second: SecondThread | None = None,
) -> Activity:
    """u' = decay u + sum + bias + noise; fire if u' > threshold; a spike resets one step later.

    A spike that is deleted resets nothing, and its neuron's window flag is off in that step.

    Membranes start at zero and are recorded before the reset. Spikes are written to `out`, which
    may be the sums. Works in its own buffers, on a few samples at a time. The `second` thread draws
    noise ahead.
    """
    activity = Activity(
        torch.empty(sums.shape) if out is None else out,
        torch.empty(sums.shape, dtype=torch.bool) if record.window else None,
        torch.empty(sums.shape) if record.membrane else None,
    )
    gaussian = GaussianTable(rng, sums.numel(), second) if params.thermal_noise else None
    parts = [
        _Neurons(sums[:, samples], activity.of(samples), params)
        for samples in cut(sums.shape[1], sums[0, 0].numel())
    ]
    for step in range(sums.shape[0]):
        for part in parts:
            part.step(step, gaussian, rng)
    return activity


class _Neurons:
    """The neurons of a layer for some samples, whose membranes stay in the cache."""

    def __init__(
        self,
        sums: Float[Tensor, "time batch column *position"],
        out: Activity,
        params: NeuronParams,
    ) -> None:
        """Begin with membranes at zero, for these sums, and write what neurons do to `out`."""
        each, all_ = (-1, *(1,) * (sums.ndim - 3)), sums.shape[1:]
        self._threshold, decay, after_spike, self._bias = (v.view(each) for v in params[:4])
        self._decay, self._after = (v.expand(all_).contiguous() for v in (decay, after_spike))
        self._window = torch.as_tensor(params.window)
        self._left, self._membrane = torch.empty(all_), torch.zeros(all_)
        self._sums, self._spikes, self._out, self._params = (
            sums.unbind(),
            out.spikes.unbind(),
            out,
            params,
        )

    def step(self, step: int, gaussian: GaussianTable | None, rng: torch.Generator) -> None:
        """Leak, reset, integrate, fire, and record what is asked for."""
        membrane = self._membrane
        if step:
            # Exact at 0 and 1, and several times as fast as torch.where.
            torch.lerp(self._decay, self._after, self._spikes[step - 1], out=self._left)
            membrane.mul_(self._left)
        membrane.add_(self._sums[step]).add_(self._bias)
        if gaussian is not None:
            noise = gaussian.take(membrane.numel()).view(membrane.shape)
            membrane.add_(noise, alpha=self._params.thermal_noise)
        torch.gt(membrane, self._threshold, out=self._spikes[step])
        if self._out.window is not None:
            near = (membrane - self._threshold).abs()
            torch.lt(near, self._window, out=self._out.window[step])
        if self._out.membrane is not None:
            self._out.membrane[step] = membrane
        if self._params.silencing:
            self._silence(step, rng)

    def _silence(self, step: int, rng: torch.Generator) -> None:
        left = kept(self._membrane, self._params.silencing, rng)
        self._spikes[step].mul_(left)
        if self._out.window is not None:
            self._out.window[step].logical_and_(left)
