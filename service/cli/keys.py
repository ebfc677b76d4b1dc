"""`tandemcal keys`: list, make and revoke API keys."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    answer,
    client_of,
    fail,
    local_minute,
    local_time,
    say,
    show_json,
)
from service.cli.tables import Column, show_table
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.formatting import short_id
from service.private_files import write_private
from service.schemas.resources import KeyView, NewKeyView
from service.states import Scope

keys_app = typer.Typer(
    no_args_is_help=True, help="List, make and revoke API keys; needs a key of the scope admin."
)
Name = Annotated[str, typer.Argument(help="Whose key it is, or what for.")]
Scopes = Annotated[list[Scope], typer.Option("--scope", help="What it may do; may be repeated.")]
Days = Annotated[
    float | None,
    typer.Option(
        help="Days until it expires, at most 36500 (default: never).",
        callback=lambda days: _bounded(days),
    ),
]
Out = Annotated[Path | None, typer.Option(help="File to write the key to, readable by you alone.")]
Which = Annotated[str, typer.Argument(help="Id of the key, its last 8 characters, or its name.")]
_DAYS_MAX = 36_500


@keys_app.command("list")
def list_keys(url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List the keys with their scopes, expiry and last use; the keys themselves are not stored."""
    with client_of(url, key) as client:
        found = list(client.keys.list())
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(short_id(one.id), one.name, " ".join(one.scopes), _state(one)),
            local_minute(one.last_used_at),
        )
        for one in found
    ]
    show_table(
        ["Key", Column("Name", words=True), Column("Scopes", words=True), "State", "Last use"], rows
    )


@keys_app.command()
def make(
    name: Name,
    scope: Scopes,
    days: Days = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a key. It is shown once on a terminal, or written to a file."""
    if out is None and not as_json and not sys.stdout.isatty():
        fail("The output is no terminal and may be kept in a log; give --out FILE, or --json.")
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with client_of(url, key) as client:
        made = client.keys.make(name, scope, expires_at=expires_at)
        if out is not None:
            _keep(client, made, out)
    if out is not None:
        say(f"The key {short_id(made.id)} is in {out}, readable by you alone.")
    else:
        words = f"The key {short_id(made.id)} was made; it is shown only once: {made.key}"
        answer(made, words, as_json=as_json)


@keys_app.command()
def revoke(which: Which, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Revoke a key: its sessions and event streams end."""
    with client_of(url, key) as client:
        revoked = client.keys.revoke(_found(which, list(client.keys.list())).id)
    words = f"The key {short_id(revoked.id)} ({revoked.name}) is revoked."
    answer(revoked, words, as_json=as_json)


def _bounded(days: float | None) -> float | None:
    """Return the days until a key expires. Raises BadParameter for a span that no key may have."""
    if days is not None and not 0 < days <= _DAYS_MAX:  # nor what is no number
        raise typer.BadParameter(f"give more than 0 and at most {_DAYS_MAX} days")
    return days


def _keep(client: Tandemcal, made: NewKeyView, out: Path) -> None:
    """Write the key to its file; if that fails, revoke the key and end the command."""
    try:
        write_private(out, made.key)
    except OSError as error:
        said = f"Cannot write the key to {out} ({error.strerror or error})"
        try:
            client.keys.revoke(made.id)
        except TandemcalError as refused:
            fail(f"{said}, and it was not revoked ({refused}): tandemcal keys revoke {made.id}")
        fail(f"{said}, so it was revoked; give another --out.")


def _found(which: str, keys: Sequence[KeyView]) -> KeyView:
    """Return the one key that is meant; end the command if there is none, or several."""
    meant = [one for one in keys if which in (one.id, short_id(one.id))]
    meant = meant or [one for one in keys if one.name == which and one.revoked_at is None]
    if len(meant) != 1:
        fail(f"{len(meant)} keys are '{which}'; give the id of one: tandemcal keys list")
    return meant[0]


def _state(key: KeyView) -> str:
    if key.revoked_at is not None:
        return "revoked"
    if key.expires_at is None:
        return "valid"
    word = "expired" if key.expires_at <= datetime.now(UTC) else "until"
    day = local_time(key.expires_at, "%Y-%m-%d")
    return f"{word} {day}"
