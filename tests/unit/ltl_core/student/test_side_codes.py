"""Side weights in codes: what they add, and how they are stored with a student."""

import pytest
import torch

from ltl_core.chip import SideWeights
from ltl_core.student.evaluate import student_quality
from ltl_core.student.side_codes import encode_side, side_matrix
from ltl_core.student.student import Student
from tests.blobs import World

LAYER = "layer0"


def factors(columns: int, rows: int, rank: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    rng = torch.Generator().manual_seed(3)
    return torch.randn(rank, rows, generator=rng), torch.randn(columns, rank, generator=rng)


def some_side(student: Student) -> SideWeights:
    side = encode_side(*factors(*student.codes[LAYER].weight.shape))
    assert side is not None
    return side


def test_codes_are_the_nearest_of_eight_bits() -> None:
    down, up = factors(columns=20, rows=30)
    side = encode_side(down, up)
    assert side is not None
    assert int(side.down.abs().max()) == int(side.up.abs().max()) == 127
    assert float((side.down * side.down_scale - down).abs().max()) <= 0.501 * side.down_scale
    close = side_matrix(side) - up @ down
    assert float(close.square().mean().sqrt()) < 0.02 * float((up @ down).square().mean().sqrt())
    coarse = side._replace(up=side.up // 16 * 16)
    far = side_matrix(coarse) - up @ down
    assert float(far.square().mean().sqrt()) > 0.02 * float((up @ down).square().mean().sqrt())


def test_nothing_to_add_needs_no_side_weights() -> None:
    down, up = factors(columns=5, rows=6)
    assert encode_side(down, torch.zeros_like(up)) is None


def test_side_weights_are_stored_with_a_student(world: World) -> None:
    student = world.student._replace(side={LAYER: some_side(world.student)})
    again = Student.from_block(student.to_block())
    assert again.side.keys() == {LAYER}
    for found, kept in zip(again.side[LAYER], student.side[LAYER], strict=True):
        assert torch.equal(torch.as_tensor(found), torch.as_tensor(kept))
    assert again.side[LAYER].up.dtype == torch.int8


def test_a_block_of_before_has_no_side_weights(world: World) -> None:
    assert Student.from_block(world.student.to_block()).side == {}


def test_a_student_runs_on_the_sum_of_cells_and_side_weights(world: World) -> None:
    codes = world.student.codes[LAYER]
    one = torch.zeros(codes.weight.shape)
    one[1] = 3.0
    up, down = one[:, :1].contiguous(), torch.ones(1, codes.weight.shape[1])
    side = encode_side(down, up)
    assert side is not None
    beside = world.student._replace(side={LAYER: side})
    shifted = codes._replace(weight=codes.weight + one.to(codes.weight.dtype))
    inside = world.student.with_codes({**world.student.codes, LAYER: shifted})
    torch.testing.assert_close(beside.weights(), inside.weights())
    found = student_quality(beside, world.test)
    assert found.losses == pytest.approx(student_quality(inside, world.test).losses, abs=1e-4)
    assert found.losses != pytest.approx(student_quality(world.student, world.test).losses)


def test_float_weights_take_the_place_of_side_weights(world: World) -> None:
    student = world.student._replace(side={LAYER: some_side(world.student)})
    assert student.with_weights(student.weights()).side == {}
