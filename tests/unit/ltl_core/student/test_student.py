"""The ideal student: its codes, their meaning, and its block."""

import pytest
import torch

from ltl_core.errors import CorruptTensorsError
from ltl_core.student.codes import CodeFormat, encode, fit_lsb
from ltl_core.student.evaluate import student_quality
from ltl_core.student.forward import student_traces
from ltl_core.student.student import Student
from ltl_core.teaching.targets import TargetSet
from tests.blobs import World


def test_codes_stay_in_range_and_fit_best() -> None:
    weight = torch.randn(40, 60, generator=torch.Generator().manual_seed(1))
    form = CodeFormat()
    lsb = fit_lsb(weight, form)

    def error(step: float) -> float:
        return float((weight - step * encode(weight / step, form)).square().mean())

    assert float(encode(weight / lsb, form).abs().max()) <= form.weight_max
    assert error(lsb) < min(error(lsb * 1.3), error(lsb * 0.7))


def test_student_spikes_are_those_of_its_codes(world: World) -> None:
    first = student_traces(world.student, world.test.samples.inputs[:8])[0]
    assert first.spikes is not None
    codes = world.student.codes["layer0"].weight.float()
    torch.testing.assert_close(
        world.student.weights()["layer0.weight"].flatten(1), codes * world.student.lsb["layer0"]
    )
    assert 0 < float(first.spikes.mean()) < 1


def test_target_set_and_student_survive_their_blocks(world: World) -> None:
    again = TargetSet.from_block(world.targets.to_block())
    assert again.scales == world.targets.scales
    assert all(torch.equal(again.rates[n], world.targets.rates[n]) for n in again.rates)
    student = Student.from_block(world.student.to_block())
    assert student_quality(student, world.test) == student_quality(world.student, world.test)
    with pytest.raises(CorruptTensorsError, match="not a student"):
        Student.from_block(world.targets.to_block())
