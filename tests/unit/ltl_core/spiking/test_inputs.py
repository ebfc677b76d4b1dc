"""A network that scales its input is, on scaled samples, the network that does not."""

from collections.abc import Iterable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from ltl_core.calibration.observe import observed_layers
from ltl_core.calibration.stimuli.synthetic import synthetic_inputs
from ltl_core.chip import LayerRecording, Observable
from ltl_core.network.spec import InputAffine, NetworkSpec
from ltl_core.spiking.inputs import scaled_inputs, unscaled_inputs
from ltl_core.student.evaluate import chip_logits
from ltl_core.student.forward import layerwise_forward_student
from ltl_core.student.student import Student
from ltl_core.teaching.targets import Batch
from ltl_core.teaching.teacher import collect, run_teacher
from ltl_core.training.start import start_student
from tests.blobs import World, chip

SCALE, SHIFT = 0.5, 0.125  # exact in binary


class Twins(NamedTuple):
    """A student and its samples, and the same with a scale of the input."""

    plain: Student
    inputs: Tensor
    scaled: Student
    raw: Tensor


def _with_affine(network: NetworkSpec) -> NetworkSpec:
    affine = InputAffine(scale=(SCALE,), shift=(SHIFT,))
    return NetworkSpec.model_validate({**network.model_dump(), "input_affine": affine})


@pytest.fixture(scope="module")
def twins(world: World) -> Twins:
    inputs = (world.test.samples.inputs[:20] * 64).round() / 64
    raw = (inputs - SHIFT) / SCALE
    student = world.student
    return Twins(student, inputs, student._replace(network=_with_affine(student.network)), raw)


def test_scale_and_its_inverse(twins: Twins) -> None:
    network = twins.scaled.network
    assert torch.equal(scaled_inputs(network, twins.raw), twins.inputs)
    assert torch.equal(unscaled_inputs(network, twins.inputs), twins.raw)
    assert not torch.equal(twins.raw, twins.inputs)


def test_teacher_reads_scaled_inputs(world: World, twins: Twins) -> None:
    network = _with_affine(world.network)
    found = run_teacher(network, world.weights, twins.raw)
    assert torch.equal(found.logits, run_teacher(world.network, world.weights, twins.inputs).logits)
    frames = torch.stack((twins.raw - 0.25, twins.raw + 0.25), 1)
    assert torch.allclose(run_teacher(network, world.weights, frames).logits, found.logits)


def test_student_and_chip_read_scaled_inputs(twins: Twins) -> None:
    plain, scaled = twins.plain, twins.scaled
    ours = layerwise_forward_student(scaled, twins.raw)
    assert torch.equal(ours.logits, layerwise_forward_student(plain, twins.inputs).logits)
    backend = chip("ideal")
    backend.place(scaled.placement())
    for name, codes in scaled.codes.items():
        backend.program(name, codes.weight)
        backend.trim(name, codes.threshold, codes.bias)
    on_chip = chip_logits(backend, scaled, twins.raw)
    assert torch.equal(on_chip, chip_logits(backend, plain, twins.inputs))
    assert not torch.equal(on_chip, chip_logits(backend, plain, twins.raw))


def test_model_of_a_chip_reads_scaled_inputs(twins: Twins) -> None:
    batch = Batch(twins.raw, None, {})
    recordings = _recordings(twins.scaled, twins.raw)
    first = next(iter(observed_layers(twins.scaled, batch, recordings)))
    assert torch.equal(first.sources[0][0], twins.inputs)


def _recordings(student: Student, inputs: Tensor) -> Iterable[tuple[str, LayerRecording]]:
    """Return the recordings of an ideal chip, layer by layer."""
    backend = chip("ideal")
    backend.place(student.placement())
    record = {stage.name: Observable.COUNTS for stage in student.network.stages[:-1]}
    record[student.network.stages[-1].name] = Observable.MEMBRANE
    return backend.run(student.stimulus(inputs), record).layers.items()


def test_full_scale_of_the_dac_is_that_of_scaled_inputs(world: World) -> None:
    samples = world.targets.samples
    raw = samples._replace(inputs=(samples.inputs - SHIFT) / SCALE)
    network = _with_affine(world.network)
    targets = collect(network, world.weights, raw)
    made = start_student(network, world.weights, targets, world.student.neuron)
    assert made.input_full_scale == pytest.approx(float(samples.inputs.abs().max()))


def test_synthetic_samples_reach_the_dac_in_its_range(twins: Twins) -> None:
    made = synthetic_inputs(twins.scaled, 8, seed=1)
    plain = synthetic_inputs(twins.plain, 8, seed=1)
    torch.testing.assert_close(scaled_inputs(twins.scaled.network, made), plain)


@pytest.mark.parametrize(
    ("affine", "words"),
    [
        ({"scale": [1.0, 2.0], "shift": [0.0, 0.0]}, "has 2 numbers, but the input has 1"),
        ({"scale": [0.0], "shift": [0.0]}, "must not be zero"),
        ({"scale": [1.0], "shift": [0.0, 1.0]}, "one number a channel each"),
        ({"scale": [float("nan")], "shift": [0.0]}, "finite"),
    ],
)
def test_wrong_scale_is_refused(world: World, affine: object, words: str) -> None:
    with pytest.raises(Exception, match=words):
        NetworkSpec.model_validate({**world.network.model_dump(), "input_affine": affine})


def test_a_network_without_scale_is_written_as_before(world: World) -> None:
    assert "input_affine" not in world.network.model_dump()
    assert "input_affine" not in world.network.model_dump_json()
    again = NetworkSpec.model_validate_json(_with_affine(world.network).model_dump_json())
    assert again.input_affine == InputAffine(scale=(SCALE,), shift=(SHIFT,))
