"""`tandemcal backup` and `tandemcal restore`: everything that an installation keeps."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

Directory = Annotated[Path, typer.Argument(help="A directory; blocks in it are not copied again.")]
Backup = Annotated[Path, typer.Argument(help="What `tandemcal backup` wrote.")]


def backup(directory: Directory) -> None:
    """Copy the database and the artifacts; the service may go on running."""
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
    """Fill an empty installation from a backup; refused where the database has rows."""
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
