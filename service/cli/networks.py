"""`tandemcal teachers` and `tandemcal students`: the networks that a service holds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    answer,
    client_of,
    local_minute,
    say,
    show_json,
)
from service.cli.listing import ListingGroup
from service.cli.tables import Column, show_facts, show_table
from service.formatting import percent, short_id
from service.schemas.resources import TeacherItem

teachers_app = typer.Typer(cls=ListingGroup, help="List, show and delete teachers.")
students_app = typer.Typer(
    cls=ListingGroup, help="List, show, download and delete golden students."
)
Teacher = Annotated[str, typer.Argument(help="Name, id or short id of the teacher.")]
Student = Annotated[str, typer.Argument(help="Id or short id of the student, or its teacher.")]
OutFile = Annotated[Path, typer.Option(help="File to write.")]
AsNir = Annotated[bool, typer.Option("--nir", help="Write a NIR file, for other frameworks.")]
_NO_TEACHER = "There is no teacher yet: lab.teachers.upload(NAME, MODEL, ...) in Python brings one."
_NO_STUDENT = "There is no student yet: a job of the kind train makes one."


@teachers_app.command("list")
def list_teachers(url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List the teachers, newest first."""
    with client_of(url, key) as client:
        found = list(client.teachers.list())
    if as_json:
        show_json(found)
        return
    rows = [(short_id(t.id), t.name, _held(t), local_minute(t.created_at)) for t in found]
    show_table(["Teacher", Column("Name", words=True), "Weights", "Uploaded"], rows, _NO_TEACHER)


@teachers_app.command("show")
def show_teacher(
    teacher: Teacher, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Show one teacher: its layers, and the digest of its weights if they are here."""
    with client_of(url, key) as client:
        found = client.teachers.get(teacher)
    if as_json:
        show_json(found)
        return
    layers = [f"{layer.name} ({layer.kind})" for layer in found.network.layers]
    show_facts(
        [
            *(("teacher", found.name), ("id", found.id), ("layers", ", ".join(layers))),
            *(("weights", _weights(found)), ("uploaded", found.created_at)),
        ]
    )


@teachers_app.command("delete")
def delete_teacher(
    teacher: Teacher, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Delete a teacher that no target set and no open job uses."""
    with client_of(url, key) as client:
        found = client.teachers.get(teacher)
        client.teachers.delete(found.id)
    answer(found, f"The teacher {found.name} is deleted.", as_json=as_json)


@students_app.command("list")
def list_students(url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List the golden students with their teachers and accuracies, newest first."""
    with client_of(url, key) as client:
        found = list(client.students.list())
        names = {} if as_json else {t.id: t.name for t in client.teachers.list()}
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(short_id(s.id), names.get(s.teacher_id), s.rule, _accuracy(s.accuracy, "teacher")),
            *(_accuracy(s.accuracy, "golden"), local_minute(s.created_at)),
        )
        for s in found
    ]
    figures = [Column(title, figures=True) for title in ("Teacher's", "Golden")]
    columns: list[Column | str] = [
        "Student",
        Column("Teacher", words=True),
        "Rule",
        *figures,
        "Trained",
    ]
    show_table(columns, rows, _NO_STUDENT)


@students_app.command("show")
def show_student(
    student: Student, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Show one golden student."""
    with client_of(url, key) as client:
        found = client.students.get(student)
    if as_json:
        show_json(found)
        return
    show_facts(
        [
            *(("student", found.id), ("teacher", found.teacher_id)),
            *(("target set", found.target_set_id), ("rule", found.rule), ("job", found.job_id)),
            *((f"accuracy, {name}", _accuracy(found.accuracy, name)) for name in found.accuracy),
            ("weights", f"sha256 {found.sha256}"),
        ]
    )


@students_app.command("download")
def download_student(
    student: Student, out: OutFile, nir: AsNir = False, url: Url = DEFAULT_URL, key: Key = ""
) -> None:
    """Write a student to a file: codes, scales and registers as safetensors, or as NIR."""
    with client_of(url, key) as client:
        if nir:
            client.students.download_nir(student, out)
        else:
            client.students.download_weights(student, out)
    say(f"Written to {out}.")


@students_app.command("delete")
def delete_student(
    student: Student, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Delete a student that no weights of a chip, no policy and no open job uses."""
    with client_of(url, key) as client:
        found = client.students.get(student)
        client.students.delete(found.id)
    answer(found, f"The student {short_id(found.id)} is deleted.", as_json=as_json)


def _held(teacher: TeacherItem) -> str:
    """Say who has the weights of a teacher."""
    return "kept by owner" if teacher.weights_sha256 is None else "here"


def _weights(teacher: TeacherItem) -> str:
    if teacher.weights_sha256 is None:
        return "kept by their owner; target sets bring activations"
    return f"sha256 {teacher.weights_sha256}"


def _accuracy(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    return percent(value if isinstance(value, int | float) else None)
