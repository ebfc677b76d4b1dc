"""`tandemcal audit`: who changed what, and whether the trail is whole."""

from itertools import islice
from typing import Annotated

import typer

from service.audit_chain import BrokenChainError, Head, check_chain
from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    client_of,
    fail,
    local_time,
    say,
    show_json,
)
from service.cli.tables import Column, show_table
from service.formatting import short_id

audit_app = typer.Typer(
    no_args_is_help=True, help="Show who changed what; needs a key of the scope admin."
)
Action = Annotated[str | None, typer.Option(help="Only this kind, such as key.created.")]
Limit = Annotated[int, typer.Option(help="How many events to list.", min=0)]
Known = Annotated[
    str | None, typer.Option(help="NUMBER:SHA256 of an earlier check: the trail has to contain it.")
]

_NO_EVENT = "There is no such event."


@audit_app.command("list")
def list_events(
    action: Action = None,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """List the newest changes: when, what, by which key, from where."""
    with client_of(url, key) as client:
        found = list(islice(client.audit.list(action=action), limit))
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(local_time(one.created_at), one.action),
            *(one.subject and short_id(one.subject), one.key_id and short_id(one.key_id)),
            one.address,
        )
        for one in found
    ]
    show_table(["Time", Column("Action", words=True), "Subject", "Key", "Address"], rows, _NO_EVENT)


@audit_app.command()
def verify(known: Known = None, url: Url = DEFAULT_URL, key: Key = "") -> None:
    """Check the chain of all events, and print its end; note that down elsewhere."""
    with client_of(url, key) as client:
        try:
            head = check_chain(client.audit.list(oldest_first=True), _head(known))
        except BrokenChainError as error:
            fail(f"The audit trail is not whole: {error}")
    say(f"The audit trail is whole: {head.seq} events.")
    say(f"{head.seq}:{head.sha256}")


def _head(known: str | None) -> Head | None:
    if known is None:
        return None
    seq, _, sha256 = known.partition(":")
    if not seq.isdecimal():
        fail("--known is what an earlier check printed: NUMBER:SHA256.")
    return Head(int(seq), sha256)
