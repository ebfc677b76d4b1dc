"""`tandemcal weights`: the versions of a chip's weights, and how two of them differ."""

import json
from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    client_of,
    local_minute,
    say,
    show_json,
)
from service.cli.tables import Column, show_table
from service.client.tensors import ArrayChange, changes
from service.formatting import percent, short_id

weights_app = typer.Typer(no_args_is_help=True, help="List, download and compare weights of chips.")
Chip = Annotated[str, typer.Argument(help="Name, id or short id of the chip.")]
Version = Annotated[int, typer.Argument(help="Number of the version.", min=1)]
Before = Annotated[int, typer.Argument(help="Number of the earlier version.", min=1)]
After = Annotated[int, typer.Argument(help="Number of the later version.", min=1)]
OutFile = Annotated[Path, typer.Option(help="File to write, in the safetensors format.")]


@weights_app.command("list")
def list_weights(
    chip: Chip, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False
) -> None:
    """List the versions of a chip's weights with their accuracies, newest first."""
    with client_of(url, key) as client:
        found = list(client.chips.weights(chip))
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(v.version, v.rule, *(percent(v.accuracy.get(when)) for when in _WHEN)),
            *(short_id(v.job_id), local_minute(v.created_at), v.sha256[:8]),
        )
        for v in found
    ]
    figures = [Column(title, figures=True) for title in ("Golden", "Before", "After")]
    version = Column("No.", figures=True)
    columns: list[Column | str] = [
        version,
        Column("Rule", words=True),
        *figures,
        "Job",
        "Published",
        "SHA-256",
    ]
    show_table(columns, rows, f"The chip {chip} has no version yet: calibrate it.")


@weights_app.command()
def download(
    chip: Chip, version: Version, out: OutFile, url: Url = DEFAULT_URL, key: Key = ""
) -> None:
    """Write the codes and trims of one version to a safetensors file."""
    with client_of(url, key) as client:
        client.chips.download_weights(chip, version, out)
    say(f"Written to {out}.")


@weights_app.command()
def diff(
    chip: Chip,
    before: Before,
    after: After,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Compare two versions of a chip's weights, array by array."""
    with client_of(url, key) as client:
        found = changes(
            client.chips.read_weights(chip, before), client.chips.read_weights(chip, after)
        )
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], indent=2))
        return
    titles = ("Entries", "Changed", "Mean change", "Largest")
    columns = [Column("Array", words=True), *(Column(title, figures=True) for title in titles)]
    show_table(columns, [_row(one) for one in found])


_WHEN = ("golden", "before", "after")


def _row(found: ArrayChange) -> tuple[object, ...]:
    share = found.changed / found.entries if found.entries else None
    changed = f"{found.changed} ({percent(share)})"
    return found.name, found.entries, changed, f"{found.mean:.3g}", f"{found.largest:.3g}"
