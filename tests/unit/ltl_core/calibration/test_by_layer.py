"""What a calibration says of each layer."""

import pytest

from ltl_core.calibration.by_layer import Codes, outcome_by_layer
from ltl_core.student.evaluate import Quality
from tests.blobs import World


def test_changed_codes_are_counted_where_they_changed(world: World) -> None:
    student = world.student
    first, *others = student.network.stages
    codes = student.codes[first.layer.name]
    weight, bias = codes.weight.clone(), codes.bias.clone()
    weight[0, :2] += 1
    bias[1] += 1
    changed = {**student.codes, first.layer.name: codes._replace(weight=weight, bias=bias)}
    hidden = len(others)
    before, after = (Quality(0.5, (error,) * hidden, ()) for error in (0.2, 0.1))
    found = outcome_by_layer(student.network, Codes(student.codes, changed), before, after)
    assert [one.layer for one in found] == [stage.name for stage in student.network.stages]
    assert found[0][1:] == (0.2, 0.1, codes.weight.numel(), 2, 2 * codes.bias.numel(), 1)
    assert [(one.cells_changed, one.trims_changed) for one in found[1:]] == [(0, 0)] * hidden
    assert (found[-1].rate_error_before, found[-1].rate_error_after) == (None, None)


def test_rate_errors_of_another_network_are_refused(world: World) -> None:
    short = Quality(0.5, (), ())
    codes = Codes(world.student.codes, world.student.codes)
    with pytest.raises(ValueError, match="shorter"):
        outcome_by_layer(world.student.network, codes, short, short)
