"""`tandemcal backup` and `tandemcal restore`: the database and the artifacts."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Directory = Annotated[
    Path,
    typer.Argument(help="Folder to write to; blocks that it holds already are not copied again."),
]
Backup = Annotated[Path, typer.Argument(help="Folder that `tandemcal backup` wrote.")]


def backup(directory: Directory) -> None:
    """Copy the database and the artifacts to a folder. The service may be running."""
    from service.backup.backup import back_up
    from service.errors import ServiceError
    from service.settings import Settings

    try:
        made = back_up(Settings(), directory)
    except ServiceError as error:
        _fail(str(error))
        return
    _say(f"Backed up to {directory}: the database and {made.blocks} blocks, all verified.")


def restore(directory: Backup) -> None:
    """Restore a backup into an empty installation; refused if its database has rows."""
    from service.backup.backup import restore as restore_into
    from service.errors import ServiceError
    from service.settings import Settings

    settings = Settings()
    try:
        made = restore_into(settings, directory)
    except ServiceError as error:
        _fail(str(error))
        return
    _say(f"Restored the backup of {made.made_at:%Y-%m-%d %H:%M:%S} UTC into {settings.data_dir}.")


def _say(sentence: str) -> None:
    Console().print(sentence, highlight=False, markup=False, soft_wrap=True)


def _fail(sentence: str) -> None:
    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)
    raise typer.Exit(1)
