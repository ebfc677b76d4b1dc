"""`tandemcal webhooks`: list, make, test, enable, disable and delete webhooks."""

import sys
from collections.abc import Sequence
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
    local_time,
    say,
    show_json,
)
from service.cli.tables import Column, show_table
from service.client.sdk import Tandemcal
from service.formatting import short_id
from service.private_files import write_private
from service.schemas.webhooks import WebhookView

webhooks_app = typer.Typer(
    no_args_is_help=True,
    help="List, make and change webhooks; needs a key of the scope admin.",
)
Address = Annotated[str, typer.Argument(help="Address to which events are sent.")]
Events = Annotated[
    list[str] | None,
    typer.Option("--event", help="Type of event; may be repeated (default: most types)."),
]
Out = Annotated[
    Path | None, typer.Option(help="File to write the secret to, readable by you alone.")
]
Which = Annotated[str, typer.Argument(help="Id of the webhook, or its last 8 characters.")]


@webhooks_app.command("list")
def list_webhooks(url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """List the webhooks: how far each has come, and why the last attempt failed."""
    with client_of(url, key) as client:
        found = list(client.webhooks.list())
    if as_json:
        show_json(found)
        return
    rows = [
        (short_id(one.id), one.url, _state(one), local_time(one.delivered_at), one.error or "")
        for one in found
    ]
    address, error = Column("Address", words=True), Column("Error", words=True)
    columns: list[Column | str] = ["Webhook", address, "State", "Delivered", error]
    show_table(columns, rows, "There is no webhook yet: tandemcal webhooks make URL makes one.")


@webhooks_app.command()
def make(
    address: Address,
    event: Events = None,
    out: Out = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Make a webhook. Its secret is shown once on a terminal, or written to a file."""
    if out is None and not as_json and not sys.stdout.isatty():
        fail("The output is no terminal and may be kept in a log; give --out FILE, or --json.")
    with client_of(url, key) as client:
        made = client.webhooks.make(address, events=event or None)
        if out is not None:
            try:
                write_private(out, made.secret)
            except OSError as error:
                client.webhooks.delete(made.id)
                fail(f"Cannot write to {out} ({error.strerror or error}), so none was made.")
    if out is not None:
        say(f"Webhook {short_id(made.id)} was made; its secret is in {out}.")
    else:
        words = f"Webhook {short_id(made.id)} was made. Its secret, shown once: {made.secret}"
        answer(made, words, as_json=as_json)


@webhooks_app.command("test")
def send_test(which: Which, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Send a message of the type webhook.test now, and say what came of it."""
    with client_of(url, key) as client:
        sent = client.webhooks.test(_found(client, which).id)
    words = f"It was delivered in {sent.duration_s:.1f} s."
    answer(sent, words if sent.delivered else f"Not delivered: {sent.error}.", as_json=as_json)


@webhooks_app.command()
def enable(which: Which, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Send events again, from the next one on."""
    _switch(which, url, key, enabled=True, as_json=as_json)


@webhooks_app.command()
def disable(which: Which, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Send no event until the webhook is enabled again."""
    _switch(which, url, key, enabled=False, as_json=as_json)


@webhooks_app.command()
def delete(which: Which, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Delete a webhook."""
    with client_of(url, key) as client:
        found = _found(client, which)
        client.webhooks.delete(found.id)
    answer(found, f"Webhook {short_id(found.id)} is deleted.", as_json=as_json)


def _switch(which: str, url: str, key: str, *, enabled: bool, as_json: bool) -> None:
    with client_of(url, key) as client:
        changed = client.webhooks.change(_found(client, which).id, enabled=enabled)
    answer(changed, f"Webhook {short_id(changed.id)} is {_state(changed)}.", as_json=as_json)


def _found(client: Tandemcal, which: str) -> WebhookView:
    """Return the webhook that is meant; end the command if there is none, or several."""
    every: Sequence[WebhookView] = list(client.webhooks.list())
    meant = [one for one in every if which in (one.id, short_id(one.id))]
    if len(meant) != 1:
        fail(f"{len(meant)} webhooks are '{which}'; give the id of one: tandemcal webhooks list")
    return meant[0]


def _state(webhook: WebhookView) -> str:
    if not webhook.enabled:
        return "disabled"
    return "enabled" if webhook.failing_since is None else "failing"
