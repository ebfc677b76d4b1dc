"""The student that training starts from, the ranges of its converters, and its activity."""

from collections.abc import Mapping

from torch import Tensor

from ltl_core.network.spec import NetworkSpec
from ltl_core.settings import NeuronSettings
from ltl_core.spiking.forward import warm_start
from ltl_core.spiking.inputs import scaled_inputs
from ltl_core.spiking.linear import weighted_sums
from ltl_core.student.activity import activity_of
from ltl_core.student.codes import CodeFormat, fit_lsb
from ltl_core.student.column_sums import SAMPLES_AT_ONCE, TopValues, matrix_inputs
from ltl_core.student.golden import golden_targets
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Samples, Targets, evenly_spaced_indices

_SAMPLES = 256  # enough to set the converters' full scales
_ACTIVITY_SAMPLES = 512  # enough for the mean and the spread of a channel's rate


def start_student(
    network: NetworkSpec,
    weights: Mapping[str, Tensor],
    targets: Targets,
    neuron: NeuronSettings,
    form: CodeFormat | None = None,
) -> Student:
    """Return the warm start, rounded to codes: each layer's step fits its weights best.

    `weights` are the teacher's. Without a form the codes are the usual ones.
    """
    form = form or CodeFormat()
    scaled = warm_start(network, weights, targets.scales, neuron)
    lsb = {m.name: fit_lsb(scaled[f"{m.name}.weight"], form) for m in network.matrices}
    sums = _largest_sums(network, scaled, targets, neuron)
    full_scale = {name: value / lsb[name] for name, value in sums.items()}
    inputs = float(scaled_inputs(network, targets.samples.inputs).abs().max())
    gains = {
        name.removesuffix(".gain"): gain.tolist()
        for name, gain in scaled.items()
        if name.endswith(".gain")
    }
    student = Student(network, neuron, form, {}, lsb, full_scale, inputs, gains)
    return student.with_weights(scaled)


def set_ranges(student: Student, targets: Targets) -> Student:
    """Return the student with converter ranges that hold all but the rarest hidden column sums.

    The readout keeps its own range, since the unit of its biases depends on it.
    """
    sums = _largest_sums(student.network, student.weights(), targets, student.neuron)
    readout = student.network.stages[-1].name
    full_scale = {name: value / student.lsb[name] for name, value in sums.items()}
    full_scale[readout] = student.full_scale[readout]
    return student._replace(full_scale=full_scale)


def with_activity(student: Student, targets: Targets) -> Student:
    """Return the student with the activity of its channels on some samples that it learns from."""
    inputs = targets.samples.inputs[evenly_spaced_indices(targets.size, _ACTIVITY_SAMPLES)]
    answers = golden_targets(student, Samples(inputs, None))
    return student._replace(activity=activity_of(answers))


def _largest_sums(
    network: NetworkSpec, weights: Mapping[str, Tensor], targets: Targets, neuron: NeuronSettings
) -> dict[str, float]:
    """Return the 99.9th percentile of |column sum| of each matrix, without bias, in weight units.

    If nothing reaches a matrix yet, its largest weight is returned: a range must not be empty.
    """
    inputs = targets.samples.inputs[evenly_spaced_indices(targets.size, _SAMPLES)]
    tops = {layer.name: TopValues(len(inputs)) for layer in network.matrices}
    for chunk in inputs.split(SAMPLES_AT_ONCE):
        for found in matrix_inputs(network, weights, chunk, neuron):
            tops[found.name].add(weighted_sums(found.rows, found.weights), len(chunk))
    return {
        name: top.percentile or float(weights[f"{name}.weight"].abs().max()) or 1.0
        for name, top in tops.items()
    }
