"""Pages of teachers and students: networks, targets, accuracies, operations, and their users."""

import json
import re
from typing import Any

import pytest
import safetensors.numpy
from fastapi.testclient import TestClient
from sqlalchemy import select, text, update

from service.db.repositories.target_sets import TargetSetRepository
from service.db.tables import Chip, Job, Student, WeightVersion
from service.web.teachers.targets import missing_ranges
from tests.integration.upkeep_lab import Fleet
from tests.world import World, small_samples, teacher_block

LIMIT = 200_000  # bytes
EFFORT = {
    "firing_rate": 0.125,
    "layer_rates": [0.125],
    "synops": 23_149.0,
    "ann_synops": 46_298.0,
    "analog_ops": 432.0,
    "ratio": 0.5,
}


def cells(page: str, heading: str) -> list[list[str]]:
    """Cells of the table under a heading, as text."""
    part = page.split(f'aria-labelledby="{heading}"')[1].split("</section>")[0]
    body = part.split("<tbody>")[1].split("</tbody>")[0]
    rows = re.findall(r"<tr[^>]*>(.*?)</tr>", body, re.DOTALL)
    found = (re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row, re.DOTALL) for row in rows)
    return [[re.sub(r"<[^>]+>", "", cell).strip() for cell in row] for row in found]


def counted(world: World, student: str, **more: Any) -> None:
    """Let the training of a student have counted its operations."""
    result = {"accuracy": {"golden": 0.88, "teacher": 0.9}, "effort": EFFORT, "test_samples": 6}
    with world.context.database.writing() as session:
        session.execute(update(Job).where(Job.id == student).values(result=result | more))


def damage(world: World, change: str, **values: Any) -> None:
    with world.context.database.writing() as session:
        session.execute(text(change), values)


def copied(row: Any, **changes: Any) -> Any:
    """A new row with the values of another one."""
    names = [column.key for column in row.__table__.columns]
    return type(row)(**{name: getattr(row, name) for name in names} | changes)


def teacher_of(world: World, student: str) -> str:
    return str(world.client.get(f"/v1/students/{student}").json()["teacher_id"])


def test_empty_lists_say_what_to_do_next(world: World) -> None:
    page = world.client.get("/teachers").text
    assert "lab.teachers.upload" in page
    assert "lab.jobs.train" in page


def test_a_teacher_is_shown_as_a_row_of_layers_with_their_shapes(world: World) -> None:
    teacher = world.upload_teacher()["id"]
    page = world.client.get(f"/teachers/{teacher}").text
    row = page.split('class="network"')[1].split("</ol>")[0]
    layers = [re.sub(r"<[^>]+>", " ", layer).split() for layer in re.findall(r"<li.*?</li>", row)]
    assert layers[0] == ["input", "1×4×4"]
    assert layers[1][:4] == ["conv", "3×4×4", "conv", "3×3"]
    assert layers[1][4:] == ["48", "neurons,", "27", "weights"]
    assert layers[2][:6] == ["readout", "5", "mean", "of", "2×2,", "linear"]
    assert "2 layers with 87 weights, from 1×4×4 to 5 classes" in page


def test_a_teacher_is_found_by_its_name_and_shown_as_text(world: World) -> None:
    world.upload_teacher(teacher_block(name="digits <1>"))
    page = world.client.get("/teachers/digits <1>").text
    assert "Teacher digits &lt;1&gt;" in page
    assert "digits <1>" not in page
    assert world.client.get("/teachers/digits <2>").status_code == 404


def test_a_target_set_shows_what_is_missing_until_it_is_complete(world: World) -> None:
    teacher = world.upload_teacher()["id"]
    announced = world.announce_targets(teacher, chunks=9)["id"]
    block = safetensors.numpy.save(small_samples())
    for index in (1, 2, 6):
        world.put_chunk(announced, index, "calibration", block)
    coverage = cells(world.client.get(f"/teachers/{teacher}").text, "sets")[0][3]
    assert coverage == "3 of 9 chunks; missing: 0, 3 to 5, 7 to 8"


def test_a_target_set_that_is_ready_shows_scales_and_accuracy(world: World) -> None:
    teacher = world.upload_teacher()["id"]
    job = world.complete_targets(teacher)
    summary = {
        "samples": {"calibration": 1000, "test": 200},
        "scales": {"conv": 2.31234, "readout": 1.5},
        "teacher_accuracy": {"calibration": 0.99, "test": 0.981},
    }
    with world.context.database.writing() as session:
        session.execute(update(Job).where(Job.id == job["id"]).values(status="running", token=1))
        TargetSetRepository(session).set_ready(job["id"], 1, summary, "0" * 64)
    row = cells(world.client.get(f"/teachers/{teacher}").text, "sets")[0]
    assert row[:2] == ["small targets", "ready"]
    assert row[2] == "1\u202f000 calibration, 200 test"
    assert row[3] == "complete: 2 chunks"
    assert row[4] == "99.0\u202f% calibration, 98.1\u202f% test"
    assert row[5] == "conv 2.31, readout 1.5"


@pytest.mark.parametrize(
    ("arrived", "ranges"),
    [(set(), ["0 to 4"]), ({0, 1, 2, 3, 4}, []), ({0, 4}, ["1 to 3"]), ({1, 9}, ["0", "2 to 4"])],
)
def test_missing_chunks_are_told_as_ranges(arrived: set[int], ranges: list[str]) -> None:
    assert missing_ranges(arrived, 5) == ranges


def test_students_are_compared_by_rule(world: World) -> None:
    targets = world.ready_targets()
    students = [world.trained_student(targets) for _ in range(3)]
    with world.context.database.writing() as session:
        for student, rule, golden in zip(
            students, ("ltl-online", "ltl-online", "ltl-offline"), (0.91, 0.93, 0.95), strict=True
        ):
            values = {"rule": rule, "accuracy": {"golden": golden, "teacher": 0.96}}
            session.execute(update(Student).where(Student.id == student).values(values))
    counted(world, students[2])
    page = world.client.get(f"/teachers/{teacher_of(world, students[0])}").text
    assert (
        "<span>ltl-offline: 95.0\u202f%</span><span>ltl-online: 93.0\u202f%, the best of 2" in page
    )
    rows = cells(page, "students")
    assert [row[1] for row in rows] == ["ltl-offline", "ltl-online", "ltl-online"]
    assert rows[0][2:7] == ["95.0\u202f%", "96.0\u202f%", "23.1\u202fk", "50.0\u202f%", "0"]
    assert rows[1][4] == "–"  # an earlier training, which counted no operations


def test_a_student_shows_its_operations_and_the_rates_of_its_layers(world: World) -> None:
    student = world.trained_student()
    before = world.client.get(f"/students/{student}").text
    assert "of steps" not in before
    counted(world, student)
    page = world.client.get(f"/students/{student}").text
    assert f"Golden student {student[-8:]} of small teacher: 88.0\u202f% right" in page
    assert "<dt>Synaptic operations a sample</dt><dd>23.1\u202fk</dd>" in page
    assert "<dt>Of an ANN's 46.3\u202fk</dt><dd>50.0\u202f%</dd>" in page
    assert "fires in 12.5\u202f% of steps" in page
    assert cells(page, "accuracy")[0] == [
        "all 6 samples of the test split, when it was trained",
        "88.0\u202f%",
    ]


def test_a_student_is_measured_on_no_more_samples_than_there_are(world: World) -> None:
    student = world.trained_student()
    counted(world, student)
    keys = {f"a:b:{count}": 0.8 + count / 1e5 for count in (4, 6, 1000)} | {"a:b:all": 0.9}
    with world.context.database.writing() as session:
        session.execute(update(Student).values(golden_accuracy=keys))
    page = world.client.get(f"/students/{student}").text
    (_, *measured) = cells(page, "accuracy")
    used = [row[0].removesuffix(" that its chips are measured on") for row in measured]
    assert used == ["4 samples", *["all 6 samples"] * 3]
    counted(world, student, test_samples=None)  # the control: nobody has counted them
    page = world.client.get(f"/students/{student}").text
    assert "at most 1000 samples that its chips are measured on" in page


def test_a_student_names_the_chips_and_jobs_that_use_it(world: World) -> None:
    fleet = Fleet(world)
    chip = fleet.chip("bench <1>")
    other = world.trained_student()
    page = world.client.get(f"/students/{fleet.student}").text
    assert cells(page, "chips")[0][:4] == ["bench &lt;1&gt;", "unknown", "1", "90.0\u202f%"]
    assert f'href="/chips/{chip}">bench &lt;1&gt;</a>' in page
    assert [row[1] for row in cells(page, "jobs")] == ["calibrate", "train"]
    unused = world.client.get(f"/students/{other}").text  # the control
    assert "No chip has a version of this student in force" in unused
    assert f"--student {other[-8:]}" in unused


def test_pages_of_a_student_with_many_chips_are_bounded(world: World) -> None:
    fleet = Fleet(world)
    first = fleet.chip("chip-000")
    with world.context.database.writing() as session:
        version = session.scalars(select(WeightVersion)).one()
        job, chip = session.get(Job, version.job_id), session.get(Chip, first)
        for number in range(1, 120):
            copy = f"{number:036d}"
            session.add(copied(job, id=copy))
            session.add(copied(chip, id=copy, name=f"chip-{number:03d}"))
            session.flush()
            session.add(copied(version, id=copy, chip_id=copy, job_id=copy))
    seen, address = list[str](), f"/students/{fleet.student}"
    while address:
        page = world.client.get(address)
        assert len(page.content) < LIMIT
        seen += [row[0] for row in cells(page.text, "chips")]
        more_chips = re.findall(r'<a href="([^"]+)">More chips', page.text)
        address = more_chips[0] if more_chips else ""
    assert seen == [f"chip-{number:03d}" for number in range(120)]


def test_a_network_of_many_layers_stays_small(world: World) -> None:
    layers = [
        {"kind": "linear", "name": f"layer-{number}", "in_features": 16, "out_features": 16}
        for number in range(400)
    ]
    readout = {"kind": "linear", "name": "readout", "in_features": 16, "out_features": 5}
    network = {"input_shape": [16], "layers": [*layers, readout]}
    teacher = world.upload_teacher()["id"]
    damage(
        world,
        "UPDATE teachers SET network = :network WHERE id = :id",
        network=json.dumps(network),
        id=teacher,
    )
    answer = world.client.get(f"/teachers/{teacher}")
    assert len(answer.content) < LIMIT
    assert "281 more" in answer.text
    assert "<b>readout</b>" in answer.text


def test_damaged_rows_do_not_break_the_list(world: World) -> None:
    good = world.trained_student()
    bad, worse = world.trained_student(), world.trained_student()
    for change in ("accuracy = '[1]'", "accuracy = '{'"):
        damage(world, f"UPDATE students SET {change} WHERE id = :id", id=bad)
        damage(world, "UPDATE students SET created_at = '17' WHERE id = :id", id=worse)
        page = world.client.get("/teachers")
        assert page.status_code == 200
        rows = {row[0]: row[2] for row in cells(page.text, "students")}
        assert rows[good[-8:]] == "ltl-offline"
        assert "cannot be read" in rows[worse[-8:]]
        assert bad[-8:] in rows


def test_damaged_networks_and_sets_do_not_break_a_teacher(world: World) -> None:
    student = world.trained_student()
    teacher = teacher_of(world, student)
    damage(world, "UPDATE teachers SET network = '[1]' WHERE id = :id", id=teacher)
    damage(world, "UPDATE target_sets SET summary = '[1]'")
    page = world.client.get(f"/teachers/{teacher}")
    assert page.status_code == 200
    assert "Its network cannot be read" in page.text
    assert cells(page.text, "sets")[0][3] == "its row cannot be read"
    assert world.client.get("/teachers").status_code == 200
    assert "cannot be read" in world.client.get(f"/students/{student}").text
    damage(world, "UPDATE teachers SET network = '{' WHERE id = :id", id=teacher)
    assert world.client.get("/teachers").status_code == 200
    browser = {"Accept": "text/html"}
    assert world.client.get(f"/teachers/{teacher}", headers=browser).status_code == 500
    assert "damaged" in world.client.get(f"/teachers/{teacher}", headers=browser).text


@pytest.mark.parametrize("path", ["/teachers", "/teachers/1", "/students/1"])
def test_the_pages_need_a_key(world: World, path: str) -> None:
    browser = TestClient(world.client.app, follow_redirects=False)
    assert browser.get(path).headers["location"] == f"/login?next={path}"


def test_pages_that_do_not_exist_say_so(world: World) -> None:
    for path in ("/teachers/nobody", "/students/nobody"):
        answer = world.client.get(path, headers={"Accept": "text/html"})
        assert (answer.status_code, "<h1>" in answer.text) == (404, True)
