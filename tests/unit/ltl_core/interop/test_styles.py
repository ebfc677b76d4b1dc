"""Modules in other people's styles compute the same once imported, or are refused with a reason."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ltl_core.errors import CalibrationError
from ltl_core.interop.agreement import TOLERANCE
from ltl_core.interop.from_torch import from_torch
from ltl_core.interop.preparing import prepared
from ltl_core.network.spec import NetworkSpec
from ltl_core.teaching.teacher import run_teacher
from tests.unit.ltl_core.interop import activation_styles, more_styles, styles
from tests.unit.ltl_core.interop.refused_styles import REFUSED
from tests.unit.ltl_core.interop.styles import Style

ALL = {
    f"{group}: {name}": style
    for group, found in {
        "flatten": styles.FLATTEN,
        "end": styles.END,
        "beginning": styles.BEGINNING,
        "norm": styles.NORMS,
        "pool": styles.POOLS,
        "convolution": more_styles.CONVOLUTIONS,
        "join": more_styles.JOINS,
        "wrapper": more_styles.WRAPPERS,
        "activation": activation_styles.ACTIVATIONS,
    }.items()
    for name, style in found.items()
}


def _made(style: Style) -> nn.Module:
    torch.manual_seed(1)
    module = style.make()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
            if part.running_mean is not None and part.running_var is not None:
                part.running_mean.normal_()
                part.running_var.uniform_(0.5, 2)
            if part.affine:
                nn.init.normal_(part.weight)
                nn.init.normal_(part.bias)
    return module


@pytest.mark.filterwarnings(
    "ignore:Implicit dimension",
    "ignore:Using padding='same'",
    "ignore:`torch.nn.utils.weight_norm`",
)
@pytest.mark.parametrize("style", ALL.values(), ids=ALL)
def test_imported_style_computes_the_same(style: Style) -> None:
    module = _made(style)
    imported = from_torch(module, style.shape)
    network, weights = imported
    inputs = torch.rand(5, *style.shape)
    try:
        result = prepared(module)(inputs.double())
    except RuntimeError:  # a module that turns its values into float32
        result = prepared(module, torch.float32)(inputs)
    if isinstance(result, dict | tuple):
        (result,) = result.values() if isinstance(result, dict) else result
    logits = run_teacher(network, weights, inputs.view(5, *network.input_shape)).logits
    score = _score(imported.notes)
    expected = result.reshape(logits.shape)
    difference = (score(logits.double()) - expected).abs().max() / expected.abs().max()
    assert float(difference) < TOLERANCE
    assert NetworkSpec.model_validate_json(network.model_dump_json()) == network
    if style.note:
        assert any(style.note in note for note in imported.notes)


def _score(notes: tuple[str, ...]) -> Callable[[Tensor], Tensor]:
    """Return the function at the end of a module that the import left out, by its note."""
    left_out = next((note.split()[1].lower() for note in notes if "left out" in note), "")
    functions = {"softmax": F.softmax, "logsoftmax": F.log_softmax, "log_softmax": F.log_softmax}
    if left_out in functions:
        return lambda logits: functions[left_out](logits, 1)
    return torch.sigmoid if left_out == "sigmoid" else (lambda logits: logits)


@pytest.mark.filterwarnings("ignore:`torch.jit.script", "ignore:enable_nested_tensor")
@pytest.mark.parametrize("style", REFUSED.values(), ids=REFUSED)
def test_refused_style_is_named_in_one_sentence(style: Style) -> None:
    module = _made(style)
    with pytest.raises(CalibrationError, match=style.refused) as caught:
        from_torch(module, style.shape)
    assert "\n" not in str(caught.value)
