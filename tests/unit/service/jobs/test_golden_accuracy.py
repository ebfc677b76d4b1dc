"""The accuracy of a golden student is measured once for the same student and samples."""

from pathlib import Path

import pytest

from ltl_core.calibration import samples
from ltl_core.settings import CalibrationSettings
from ltl_core.student.evaluate import student_quality
from ltl_core.student.student import Student
from ltl_core.teaching.targets import TargetSet
from service.artifacts import ArtifactStore
from service.db.tables import Student as StudentRow
from service.db.tables import TargetSet as TargetSetRow
from service.jobs.kinds.context import JobContext, NoLink
from service.jobs.kinds.golden_accuracy import KEPT, golden_accuracy, known_accuracy
from service.jobs.messages import ExecutorConfig, JobDescription
from service.states import Split
from tests.blobs import STUDENT, World, load_world

SETTINGS = CalibrationSettings(test_samples=50)
FALSE = 0.123  # no measurement on 50 samples gives it


class Desk:
    """Asks for the accuracy of a student whose row keeps some figures."""

    def __init__(self, root: Path, world: World) -> None:
        self.root, self.test = root, world.test
        self.student, self.settings = STUDENT.read_bytes(), SETTINGS
        self.kept: dict[str, float] = {}

    def ask(self) -> dict[str, float]:
        store = ArtifactStore(self.root)
        description = JobDescription(
            config=ExecutorConfig(artifacts_dir=str(self.root), threads=1),
            job_id="job",
            kind="calibrate",
            work="",
            attempt=1,
            request={},
            targets={Split.TEST: store.put(self.test.to_block())},
            student_sha256=store.put(self.student),
            extra={KEPT: self.kept},
        )
        student = Student.from_block(self.student)
        return golden_accuracy(JobContext(store, NoLink(), description), student, self.settings)


@pytest.fixture(scope="module")
def world() -> World:
    return load_world()


@pytest.fixture
def desk(tmp_path: Path, world: World) -> Desk:
    """A desk that was asked before, and keeps a false figure of what it was asked for."""
    desk = Desk(tmp_path, world)
    desk.kept = dict.fromkeys(desk.ask(), FALSE)
    return desk


def test_it_is_measured_on_the_samples_of_the_calibration(desk: Desk, world: World) -> None:
    desk.kept = {}
    (accuracy,) = desk.ask().values()
    chosen: TargetSet = samples.tested(world.test, SETTINGS)
    assert accuracy == student_quality(world.student, chosen).accuracy


def test_what_the_row_keeps_is_not_measured_again(desk: Desk) -> None:
    assert desk.ask() == desk.kept


def test_another_student_is_measured(desk: Desk, world: World) -> None:
    codes = {name: of._replace(bias=of.bias + 1) for name, of in world.student.codes.items()}
    desk.student = world.student.with_codes(codes).to_block()
    assert FALSE not in desk.ask().values()


def test_other_samples_are_measured(desk: Desk, world: World) -> None:
    desk.test = world.targets
    assert FALSE not in desk.ask().values()


def test_another_number_of_samples_is_measured(desk: Desk) -> None:
    desk.settings = CalibrationSettings(test_samples=None)
    assert FALSE not in desk.ask().values()


def test_what_is_kept_is_known_before_a_calibration_ends(desk: Desk) -> None:
    (key,) = desk.kept
    student_sha256, test_sha256, _ = key.split(":")
    row = StudentRow(sha256=student_sha256, accuracy={"golden": 0.88}, golden_accuracy=desk.kept)
    targets = TargetSetRow(summary={"blocks": {"test": test_sha256}})
    assert known_accuracy(row, targets, SETTINGS.test_samples) == FALSE
    assert known_accuracy(row, targets, None) == 0.88  # on all samples: as it was trained
