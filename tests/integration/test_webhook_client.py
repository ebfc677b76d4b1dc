"""The client and the command line make, test, change and delete webhooks."""

import asyncio
import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from service.app import create_app
from service.cli.main import app
from service.client.aio.sdk import AsyncTandemcal
from service.client.errors import TandemcalError
from service.client.sdk import Tandemcal
from service.settings import Settings
from tests.agents import serving
from tests.recording import RecordingEngine
from tests.webhook_receiver import Receiver, receiving, status


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving(Receiver()) as one:
        yield one


@pytest.fixture
def served(settings: Settings) -> Iterator[tuple[str, str]]:
    """Address and key of a service on a socket."""
    with serving(create_app(settings, RecordingEngine())) as url:
        yield url, settings.key_file.read_text().strip()


def test_the_client_does_all_that_the_api_does(served: tuple[str, str], receiver: Receiver) -> None:
    with Tandemcal(*served) as lab:
        made = lab.webhooks.make(receiver.url, events=["job.ended"])
        assert made.secret.startswith("whsec_")
        assert made.secret not in repr(made)
        assert lab.webhooks.test(made.id).delivered
        assert receiver.received[0].is_signed_with(made.secret)
        receiver.answer = status(500)
        assert lab.webhooks.test(made.id).error == "it answered with status 500"
        changed = lab.webhooks.change(made.id, events=["job.queued"], enabled=False)
        assert (changed.events, changed.enabled, changed.url) == (["job.queued"], False, made.url)
        assert [one.id for one in lab.webhooks.list()] == [made.id]
        lab.webhooks.delete(made.id)
        with pytest.raises(TandemcalError, match="no webhook"):
            lab.webhooks.get(made.id)


async def made_and_listed(served: tuple[str, str], url: str) -> bool:
    async with AsyncTandemcal(*served) as lab:
        made = await lab.webhooks.make(url)
        return [one.id async for one in lab.webhooks.list()] == [made.id]


def test_the_client_for_asyncio_does_too(served: tuple[str, str], receiver: Receiver) -> None:
    assert asyncio.run(made_and_listed(served, receiver.url))


def test_the_command_line_keeps_a_secret_out_of_logs(
    served: tuple[str, str], receiver: Receiver, tmp_path: Path
) -> None:
    environment = {"TANDEMCAL_URL": served[0], "TANDEMCAL_KEY": served[1], "COLUMNS": "120"}

    def command(*arguments: str) -> Any:
        return CliRunner().invoke(app, ["webhooks", *arguments], env=environment)

    def listed() -> Any:
        return json.loads(command("list", "--json").output)

    assert command("make", receiver.url).exit_code == 1  # the output is no terminal
    assert listed() == []
    out = tmp_path / "secret"
    made = command("make", receiver.url, "--event", "job.ended", "--out", str(out))
    assert made.exit_code == 0, made.output
    secret = out.read_text().strip()
    assert (stat.S_IMODE(out.stat().st_mode), secret in made.output) == (0o600, False)
    (webhook,) = listed()
    which = webhook["id"][-8:]
    assert "delivered in" in command("test", which).output
    assert receiver.received[0].is_signed_with(secret)
    assert "is disabled" in command("disable", which).output
    assert "is enabled" in command("enable", webhook["id"]).output
    assert receiver.url in command("list").output
    assert command("delete", "no-such").exit_code == 1
    assert command("delete", which).exit_code == 0
    assert listed() == []
