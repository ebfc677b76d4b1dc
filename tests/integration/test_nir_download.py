"""Students as NIR files, which the service has written by a process of its own."""

from pathlib import Path

import nir
import numpy as np
import pytest
from sqlalchemy import update

from ltl_core.interop.to_nir import to_nir
from ltl_core.settings import Reset
from ltl_core.student.student import Student
from service.api import nir_export
from service.db.tables import Student as Row
from service.errors import NirFailedError, NirMissingError
from tests.integration.lab_seed import STUDENT
from tests.world import World

BLOCK = STUDENT.read_bytes()


def stored(world: World, block: bytes) -> str:
    """A student of the service with this block."""
    student = world.trained_student()
    sha256 = world.context.artifacts.put(block)
    with world.context.database.writing() as session:
        session.execute(update(Row).where(Row.id == student).values(sha256=sha256))
    return student


def test_the_file_is_the_student_as_nir(world: World, tmp_path: Path) -> None:
    path = f"/v1/students/{stored(world, BLOCK)}/nir"
    answer = world.client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/octet-stream"
    file = tmp_path / "student.nir"
    file.write_bytes(answer.content)
    found, own = nir.read(file), to_nir(Student.from_block(BLOCK))
    assert found.nodes.keys() == own.nodes.keys()
    assert np.array_equal(found.nodes["hidden"].weight, own.nodes["hidden"].weight)
    tag = answer.headers["etag"]
    assert world.client.get(path, headers={"If-None-Match": tag}).status_code == 304


def test_a_student_that_nir_cannot_express_is_refused_in_a_sentence(world: World) -> None:
    student = Student.from_block(BLOCK)
    neuron = student.neuron.model_copy(update={"reset": Reset.SUBTRACT})
    answer = world.client.get(
        f"/v1/students/{stored(world, student._replace(neuron=neuron).to_block())}/nir"
    )
    assert answer.status_code == 422
    assert "train it with the reset 'zero'" in answer.json()["detail"]


def test_a_process_that_fails_is_told_from_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NirFailedError, match="Corrupt"):
        nir_export.nir_file(b"no student")
    monkeypatch.setattr(nir_export, "_LIMIT", 0.01)
    with pytest.raises(NirFailedError, match="longer than"):
        nir_export.nir_file(BLOCK)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = "import sys; sys.modules['nir'] = None; "
    monkeypatch.setattr(nir_export, "_PROGRAM", absent + nir_export._PROGRAM)
    with pytest.raises(NirMissingError, match=r"no package 'nir'.*tandemcal\[nir\]"):
        nir_export.nir_file(BLOCK)
