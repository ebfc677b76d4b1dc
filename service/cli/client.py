"""What commands of the client share: the service, the key, tables and messages."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal

DEFAULT_URL = "http://127.0.0.1:8765"
Url = Annotated[str, typer.Option(envvar="TANDEMCAL_URL", help="URL of the service.")]
Key = Annotated[
    str,
    typer.Option(
        envvar="TANDEMCAL_KEY",
        help="API key (default: the key that a service on this machine created).",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@contextmanager
def client_of(url: str, key: str) -> Iterator[Tandemcal]:
    """Open a client; an error of the service ends the command with its message."""
    try:
        with Tandemcal(url, key or _key_file().read_text().strip()) as client:
            yield client
    except FileNotFoundError:
        fail(f"There is no key in {_key_file()}. Give one with --key or TANDEMCAL_KEY.")
    except TandemcalError as error:
        fail(str(error))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; a value that is None is shown as a dash."""
    table = Table(*columns)
    for row in rows:
        table.add_row(*("–" if value is None else str(value) for value in row))
    Console().print(table)


def show_json(found: BaseModel | Sequence[BaseModel]) -> None:
    """Print one resource, or a list of them, as JSON."""
    plain = (
        found.model_dump(mode="json")
        if isinstance(found, BaseModel)
        else [one.model_dump(mode="json") for one in found]
    )
    typer.echo(json.dumps(plain, indent=2))


def say(sentence: str) -> None:
    """Print a sentence."""
    Console().print(sentence, highlight=False, markup=False, soft_wrap=True)


def complain(sentence: str) -> None:
    """Print a sentence to the standard error."""
    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)


def fail(sentence: str) -> NoReturn:
    """End the command with a message."""
    complain(sentence)
    raise typer.Exit(1)


@contextmanager
def server_packages(extras: str = "server") -> Iterator[None]:
    """End the command with a message if a package of the server is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        fail(
            f"This command needs the server's packages ('{error.name}' is missing); "
            f"install them: pip install 'tandemcal[{extras}]'"
        )


def local_time(time: datetime | None, form: str = "%Y-%m-%d %H:%M:%S") -> str | None:
    """Format a time in the time zone of this machine."""
    return None if time is None else f"{time.astimezone():{form}}"


def _key_file() -> Path:
    """Return the file in which a service on this machine stores its first key."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("TANDEMCAL_DATA_DIR") or Path(home) / "tandemcal") / "key"
