"""What commands of the client share: the service, the key, JSON and messages."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn

import httpx
import typer
from pydantic import BaseModel, ValidationError
from rich.console import Console

from service.cli.exit_codes import ExitCode, exit_code_of
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal

DEFAULT_URL = "http://127.0.0.1:8765"
Url = Annotated[
    str,
    typer.Option(
        envvar="TANDEMCAL_URL",
        help="URL of the service; a service on this machine has the port TANDEMCAL_PORT.",
        callback=lambda context, url: _own_address(context, url),
    ),
]
Key = Annotated[
    str,
    typer.Option(
        envvar="TANDEMCAL_KEY",
        help="API key (default: the key that a service on this machine created).",
    ),
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the job has ended.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def _own_address(context: typer.Context, url: str) -> str:
    """Return the address that was given, else that of a service with the settings of this shell."""
    source = context.get_parameter_source("url")
    port = os.environ.get("TANDEMCAL_PORT", "")
    if source is None or source.name != "DEFAULT" or not port.isdecimal() or int(port) == 0:
        return url
    return f"http://127.0.0.1:{port}"


@contextmanager
def client_of(url: str, key: str) -> Iterator[Tandemcal]:
    """Open a client; an error of the service ends the command with its message and exit code."""
    chosen = key or stored_key()
    try:
        with Tandemcal(url, chosen) as client:
            yield client
    except httpx.InvalidURL as error:
        fail(f"The address '{url}' is not valid: {error}.", ExitCode.USAGE)
    except TandemcalError as error:
        fail(str(error), exit_code_of(error))


def stored_key() -> str:
    """Return the key that a service on this machine stored; end the command if there is none."""
    try:
        return key_file().read_text().strip()
    except OSError as error:
        said = error.strerror or str(error)
        fail(
            f"There is no key in {key_file()} ({said}). Give one with --key or TANDEMCAL_KEY.",
            ExitCode.USAGE,
        )


def show_json(found: BaseModel | Sequence[BaseModel]) -> None:
    """Print one resource, or a list of them, as JSON."""
    plain = (
        found.model_dump(mode="json")
        if isinstance(found, BaseModel)
        else [one.model_dump(mode="json") for one in found]
    )
    typer.echo(json.dumps(plain, indent=2))


def answer(found: BaseModel, words: str, *, as_json: bool) -> None:
    """Print a resource as JSON if asked to, else a sentence about it."""
    if as_json:
        show_json(found)
    else:
        say(words)


def say(sentence: str) -> None:
    """Print a sentence."""
    Console().print(sentence, highlight=False, markup=False, soft_wrap=True)


def complain(sentence: str) -> None:
    """Print a sentence to the standard error."""
    Console(stderr=True).print(sentence, highlight=False, markup=False, soft_wrap=True)


def fail(sentence: str, code: ExitCode = ExitCode.FAILED) -> NoReturn:
    """End the command with a message."""
    complain(sentence)
    raise typer.Exit(code)


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or in the standard input for `-`.

    Ends the command if there is none.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text()
        found = json.loads(text)
    except OSError as error:
        fail(f"Cannot read {path}: {error.strerror or error}.", ExitCode.USAGE)
    except ValueError as error:
        fail(f"{path} is no JSON: {error}.", ExitCode.USAGE)
    if not isinstance(found, dict):
        fail(f"{path} holds no JSON object.", ExitCode.USAGE)
    return found


def first_fault(what: str, error: ValidationError) -> str:
    """Describe the first fault of a file that does not fit its schema."""
    first = error.errors(include_url=False)[0]
    where = ".".join(map(str, first["loc"]))
    return f"The {what} file is not valid: {where}: {first['msg']}."


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


def local_minute(time: datetime | None) -> str | None:
    """Format a time to the minute, for tables."""
    return local_time(time, "%Y-%m-%d %H:%M")


def key_file() -> Path:
    """Return the file in which a service on this machine stores its first key."""
    home = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(os.environ.get("TANDEMCAL_DATA_DIR") or Path(home) / "tandemcal") / "key"
