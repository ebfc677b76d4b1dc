"""`tandemcal backup` and `tandemcal restore`: the database and the artifacts."""

from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import fail, say, server_packages

Directory = Annotated[
    Path,
    typer.Argument(help="Folder to write to; blocks that it holds already are not copied again."),
]
Backup = Annotated[Path, typer.Argument(help="Folder that `tandemcal backup` wrote.")]


def backup(directory: Directory) -> None:
    """Copy the database and the artifacts to a folder. The service may be running."""
    with server_packages():
        from service.backup.backup import back_up
        from service.cli.environment import read_settings
        from service.errors import ServiceError
    settings = read_settings()
    try:
        made = back_up(settings, directory)
    except ServiceError as error:
        fail(str(error))
    say(f"Backed up to {directory}: the database and {made.blocks} blocks, all verified.")


def restore(directory: Backup) -> None:
    """Restore a backup into an empty installation; refused if its database has rows."""
    with server_packages():
        from service.backup.backup import restore as restore_into
        from service.cli.environment import read_settings
        from service.errors import ServiceError
    settings = read_settings()
    try:
        made = restore_into(settings, directory)
    except ServiceError as error:
        fail(str(error))
    say(f"Restored the backup of {made.made_at:%Y-%m-%d %H:%M:%S} UTC into {settings.data_dir}.")
