"""The guide to teachers, its section for a lab that keeps its model, followed over HTTP."""

import contextlib
import io
from typing import Any

import pytest

from service.client.sdk import Tandemcal
from tests.integration.jobs_lab import Lab, Service
from tests.unit.test_own_teacher_guide import BLOCK, GUIDE, KEPT_MODEL

ADDRESS = "http://127.0.0.1:8765"  # of the guide


def test_every_block_of_the_section_prints_what_stands_below_it(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(lab)
    monkeypatch.setenv("KEY", lab.settings.key_file.read_text().strip())
    names: dict[str, Any] = {"__name__": "guide"}
    _, _, section = GUIDE.read_text().partition(KEPT_MODEL)
    blocks = BLOCK.findall(section)
    assert [kind for kind, _ in blocks] == 4 * ["python", "text"]
    for (_, code), (_, output) in zip(blocks[::2], blocks[1::2], strict=True):
        address = str(service.http.base_url).rstrip("/")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code.replace(ADDRESS, address), str(GUIDE), "exec"), names)
        assert printed.getvalue() == output
    accuracy = names["job"].result["accuracy"]
    assert accuracy["after"] > accuracy["before"]
    _no_weights_came(names["lab"], lab, set(names["weights"]))
    names["lab"].close()
    service.stop()


def _no_weights_came(client: Tandemcal, lab: Lab, names: set[str]) -> None:
    """No block that was uploaded holds a tensor of the weights."""
    chunks = [path.read_bytes() for path in lab.settings.artifacts_dir.rglob("*") if path.is_file()]
    with_activations = [block for block in chunks if b"activation:layer1" in block[:4096]]
    assert len(with_activations) == 5  # the samples to test with are the same
    assert not any(name.encode() in block[:4096] for name in names for block in with_activations)
    assert client.teachers.get("kept digits").weights_sha256 is None
