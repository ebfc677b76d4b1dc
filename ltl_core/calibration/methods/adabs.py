"""Re-estimation of a scale and a shift a column, like AdaBS (Joshi et al., Nat. Commun. 11, 2020).

AdaBS estimates the mean and variance of batch norm again from a few inputs, and so gives every
column the statistics that it had before its devices drifted. A spiking student has no batch norm
left; here the two numbers of a column are its trims. With mean m and deviation s of the measured
column sums without bias, M and S those of the golden student with bias on the same inputs, and the
threshold T,

    threshold <- T s / S,    bias <- M s / S - m

which gives sums over threshold the golden mean and deviation. A readout has no threshold, and its
scale stays, as that of thresholds without trims. The sums follow from the membranes u and spikes q
that the chip records, I[t] = u[t] - decay u[t-1] (1 - q[t-1]). Statistics are means over batches,
of the last 20 or so.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ltl_core.calibration.methods.method import (
    BatchQuality,
    LearningStep,
    MethodSetup,
    QualityMeter,
)
from ltl_core.calibration.observe import ObservedLayer, observed_layers
from ltl_core.chip import LayerCodes
from ltl_core.network.stages import Stage
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import LayerTrace, layer_traces
from ltl_core.student.codes import as_integers, encode_trim
from ltl_core.student.evaluate import recorded
from ltl_core.student.student import Student

_LATEST = 0.05  # least weight of the latest batch in the means
_SCALES = (0.5, 1.5)  # what threshold trims reach

Moments = Float[Tensor, "moment column"]  # mean and mean square; measured, then golden


class Correction(NamedTuple):
    """What makes the sums of a layer's columns over their thresholds those of the golden ones."""

    scale: Float[Tensor, " column"]  # of the threshold; 1 where it has no trim
    shift: Float[Tensor, " column"]  # bias, in units of the weights


class AdaBs:
    """Sets thresholds and biases by statistics of column sums; one presentation in each step."""

    def __init__(self, setup: MethodSetup) -> None:
        """Start at the codes of the setup's student."""
        self._setup, self._codes = setup, dict(setup.student.codes)
        self._moments: dict[str, Moments] = {}

    @property
    def codes(self) -> dict[str, LayerCodes]:
        """The student's codes with the trims of now."""
        return dict(self._codes)

    def step(self, step: LearningStep) -> BatchQuality:
        """Present the batch, take its statistics into the means, and set the trims by them."""
        golden, session = self._setup.golden, self._setup.session
        recordings = session.present(step.batch, self._setup.settings.observable)
        meter = QualityMeter(step.batch, golden.neuron.steps)
        layers = meter.measure(observed_layers(golden, step.batch, recordings))
        traces = layer_traces(golden.network, golden.weights(), step.batch.inputs, golden.neuron)
        newest = max(1 / (step.number + 1), _LATEST)
        for layer, trace in zip(layers, traces, strict=True):
            self._correct(layer, trace, newest)
        session.write(self._codes)
        return meter.quality

    def tensors(self) -> dict[str, Tensor]:
        """Return copies of the statistics and of the trims."""
        moments = {f"moments:{name}": moments.clone() for name, moments in self._moments.items()}
        for name, codes in self._codes.items():
            moments[f"bias:{name}"] = codes.bias.clone()
            moments[f"threshold:{name}"] = codes.threshold.clone()
        return moments

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `tensors` returned."""
        for name, codes in self._codes.items():
            bias, threshold = (tensors[f"{field}:{name}"] for field in ("bias", "threshold"))
            self._codes[name] = codes._replace(bias=bias.clone(), threshold=threshold.clone())
        self._moments = {
            key.removeprefix("moments:"): tensor.clone()
            for key, tensor in tensors.items()
            if key.startswith("moments:")
        }

    def _correct(self, layer: ObservedLayer, trace: LayerTrace, newest: float) -> None:
        """Take the statistics of one layer into the means, and compute its trims from them."""
        golden, stage = self._setup.golden, layer.stage
        found = torch.cat(
            (
                moments_of(column_sums(_measured_trace(layer, golden), golden.neuron)),
                moments_of(column_sums(trace, golden.neuron)),
            )
        )
        found = _without_bias(found, golden.with_codes(self._codes).bias(stage.layer.name))
        before = self._moments.get(stage.name, found)
        self._moments[stage.name] = torch.lerp(before, found, newest)
        keeps_scale = stage.is_readout or not self._setup.session.has_threshold_trims
        self._set(stage, correction_of(self._moments[stage.name], keeps_scale=keeps_scale))

    def _set(self, stage: Stage, wanted: Correction) -> None:
        """Set the trims of a layer."""
        golden, name = self._setup.golden, stage.layer.name
        bias = wanted.shift / (golden.lsb[name] * golden.bias_lsb(name))
        threshold = (wanted.scale - 1) / golden.format.trim_lsb
        self._codes[name] = self._codes[name]._replace(
            bias=as_integers(encode_trim(bias, golden.format)),
            threshold=as_integers(encode_trim(threshold, golden.format)),
        )


def column_sums(
    trace: LayerTrace, neuron: NeuronSettings
) -> Float[Tensor, "time batch column *position"]:
    """Return the column sums of every step, with bias, from membranes and spikes.

    I[t] = u[t] - decay u[t-1] (1 - q[t-1]); of a readout, I[t] = u[t] - u[t-1].
    """
    before = trace.membrane[:-1]
    if trace.spikes is not None:
        before = neuron.decay * before * (1 - trace.spikes[:-1])
    return torch.cat((trace.membrane[:1], trace.membrane[1:] - before))


def moments_of(sums: Float[Tensor, "time batch column *position"]) -> Moments:
    """Return the mean and the mean square of each column, over steps, samples and positions."""
    columns = sums.movedim(2, 0).flatten(1)
    return torch.stack((columns.mean(1), columns.square().mean(1)))


def correction_of(moments: Moments, *, keeps_scale: bool) -> Correction:
    """Return scale and shift from the moments of a layer: measured without bias, then golden.

    A column without deviation keeps its scale.
    """
    mean, square, golden_mean, golden_square = moments
    measured, golden = (
        (second - first.square()).clamp(min=0).sqrt()
        for first, second in ((mean, square), (golden_mean, golden_square))
    )
    scale = torch.where((measured > 0) & (golden > 0), measured / golden, 1.0)
    scale = torch.ones_like(scale) if keeps_scale else scale.clamp(*_SCALES)
    return Correction(scale, golden_mean * scale - mean)


def _without_bias(moments: Moments, bias: Float[Tensor, " column"]) -> Moments:
    """Return the moments with the bias taken out of the measured ones."""
    mean, square, *golden = moments
    return torch.stack((mean - bias, square - 2 * bias * mean + bias.square(), *golden))


def _measured_trace(layer: ObservedLayer, student: Student) -> LayerTrace:
    """Return what the chip recorded, in the units of the student's weights."""
    membrane = recorded(layer.record, "membrane") * student.lsb[layer.stage.name]
    spikes = None if layer.stage.is_readout else recorded(layer.record, "spikes").float()
    return LayerTrace(layer.stage, layer.sources, membrane, spikes)
