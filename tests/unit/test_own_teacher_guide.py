"""The guide to teachers, followed literally: its blocks run, and print what it says.

`tests/integration/test_kept_model_guide.py` follows the last section, which needs a service.
"""

import contextlib
import io
import re
from pathlib import Path
from typing import Any

import pytest

from tandemcal import NetworkError

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "your-own-teacher.md"
KEPT_MODEL = "## A lab that keeps its model"
BLOCK = re.compile(r"```(python|text)\n(.*?)```", re.DOTALL)


def test_every_block_of_the_guide_prints_what_stands_below_it() -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    blocks = BLOCK.findall(GUIDE.read_text().partition(KEPT_MODEL)[0])
    codes, outputs = blocks[::2], blocks[1::2]
    assert len(codes) == len(outputs) == 5
    for (kind, code), (_, output) in zip(codes, outputs, strict=True):
        assert kind == "python"
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, str(GUIDE), "exec"), names)
        assert printed.getvalue() == output


def test_a_refusal_names_the_line_of_forward() -> None:
    names: dict[str, Any] = {"__name__": "guide"}
    _, code = BLOCK.findall(GUIDE.read_text())[0]
    exec(compile(code.partition("torch.manual_seed")[0], str(GUIDE), "exec"), names)
    broken = names["Net"]()
    broken.pool = names["nn"].MaxPool2d(2)
    line = code.partition("self.pool(x)")[0].count("\n") + 1
    with pytest.raises(NetworkError, match=rf"md line {line}\)"):
        names["from_torch"](broken, (1, 8, 8))
