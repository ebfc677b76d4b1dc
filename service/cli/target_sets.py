"""`tandemcal targets`: the target sets of teachers."""

from typing import Annotated

import typer

from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    answer,
    client_of,
    local_minute,
    local_time,
    show_json,
)
from service.cli.listing import ListingGroup
from service.cli.tables import Column, show_facts, show_table
from service.formatting import short_id
from service.schemas.resources import TargetSetItem

targets_app = typer.Typer(cls=ListingGroup, help="List, show and delete target sets.")
TargetSet = Annotated[str, typer.Argument(help="Name, id or short id of the target set.")]
_NONE = "There is no target set yet: lab.target_sets.upload(NAME, ...) in Python makes one."


@targets_app.command("list")
def list_target_sets(url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List the target sets, newest first."""
    with client_of(url, key) as client:
        found = list(client.target_sets.list())
        names = {} if as_json else {t.id: t.name for t in client.teachers.list()}
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(short_id(one.id), one.name, names.get(one.teacher_id), one.state),
            *(_chunks(one), local_minute(one.created_at)),
        )
        for one in found
    ]
    words = [Column(title, words=True) for title in ("Name", "Teacher")]
    chunks = Column("Chunks", figures=True)
    show_table(["Targets", *words, "State", chunks, "Uploaded"], rows, _NONE)


@targets_app.command("show")
def show_target_set(
    target_set: TargetSet, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Show one target set, and which chunks are missing."""
    with client_of(url, key) as client:
        found = client.target_sets.get(target_set)
        teacher = client.teachers.get(found.teacher_id).name
    if as_json:
        show_json(found)
        return
    missing = ", ".join(str(chunk) for chunk in found.missing)
    show_facts(
        [
            *(("target set", found.name), ("id", found.id), ("teacher", teacher)),
            *(("state", found.state), ("reason", found.reason), ("chunks", _chunks(found))),
            *(("missing", missing or None), ("percentile", found.percentile)),
            ("uploaded", local_time(found.created_at)),
        ]
    )


@targets_app.command("delete")
def delete_target_set(
    target_set: TargetSet, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """Delete a target set that no student and no open job uses."""
    with client_of(url, key) as client:
        found = client.target_sets.get(target_set)
        client.target_sets.delete(found.id)
    answer(found, f"The target set {found.name} is deleted.", as_json=as_json)


def _chunks(found: TargetSetItem) -> str:
    return f"{found.received} of {found.chunks}"
