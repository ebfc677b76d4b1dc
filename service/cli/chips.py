"""`tandemcal chips`: list, show, register and retire chips, and set their policies."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    answer,
    client_of,
    fail,
    first_fault,
    local_time,
    read_json,
    say,
    show_json,
)
from service.cli.exit_codes import ExitCode
from service.cli.listing import ListingGroup
from service.cli.tables import Column, show_facts, show_table
from service.formatting import loss_range, loss_text, percent, score_text, short_id
from service.schemas.resources import ChipView
from service.schemas.upkeep import PolicyRequest, PolicyView

chips_app = typer.Typer(cls=ListingGroup, help="List, show, register, calibrate and probe chips.")
Chip = Annotated[str, typer.Argument(help="Name, id or short id of the chip.")]
Name = Annotated[str, typer.Argument(help="Name of the new chip.")]
SortBy = Annotated[
    str | None,
    typer.Option(
        "--sort",
        help="Sort by created_at, name, health or predicted_loss; with - in front, the largest "
        "comes first.",
    ),
]
Health = Annotated[str | None, typer.Option(help="Only chips of this health, such as drifting.")]
Preset = Annotated[str, typer.Option(help="Preset of the simulated chip, such as pcm.")]
Seed = Annotated[int, typer.Option(help="Seed of the simulated chip.", min=0)]
Backend = Annotated[str | None, typer.Option(help="Installed driver, in place of a preset.")]
Settings = Annotated[
    Path | None, typer.Option("--settings", help="JSON file with settings, - for standard input.")
]
SetPolicy = Annotated[
    Path | None, typer.Option("--set", help="JSON file with a policy, - for standard input.")
]
Drop = Annotated[bool, typer.Option("--drop", help="Delete the policy.")]
_NO_CHIP = (
    "There is no chip yet: tandemcal chips register NAME --preset pcm makes a simulated one, "
    "tandemcal agent serves yours."
)


@chips_app.command("list")
def list_chips(
    health: Health = None,
    sort: SortBy = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """List the chips with health, state, accuracy, drift score and predicted loss."""
    with client_of(url, key) as client:
        found = list(client.chips.list(health=health, sort=sort))
    if as_json:
        show_json(found)
        return
    rows = [
        (
            *(c.name, c.health, c.state, percent(c.accuracy), score_text(c.drift_score)),
            *(loss_range(_loss(c)), c.version_in_force, c.queue_depth),
        )
        for c in found
    ]
    figures = [Column(title, figures=True) for title in _FIGURES]
    none = _NO_CHIP if health is None else f"There is no chip of the health {health}."
    show_table([Column("Chip", words=True), "Health", "State", *figures], rows, none)


@chips_app.command()
def show(chip: Chip, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Show one chip: its state, its health and the version in force."""
    with client_of(url, key) as client:
        found = client.chips.get(chip)
    if as_json:
        show_json(found)
        return
    running = found.running_job_id
    show_facts(
        [
            *(("chip", found.name), ("id", found.id), ("backend", found.backend)),
            *(("state", found.state), ("health", found.health)),
            *(
                ("accuracy", percent(found.accuracy)),
                ("drift score", score_text(found.drift_score)),
            ),
            ("predicted loss", loss_text(_loss(found))),
            *(("version", found.version_in_force), ("valid until", local_time(found.valid_until))),
            *(("waiting jobs", found.queue_depth), ("runs job", running and short_id(running))),
            ("retired", local_time(found.retired_at)),
        ]
    )


@chips_app.command()
def register(
    name: Name,
    preset: Preset = "ideal",
    seed: Seed = 1,
    backend: Backend = None,
    settings: Settings = None,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Register a simulated chip, or with --backend one that an installed driver drives.

    --settings are the overrides of the preset, or the settings of the driver.
    """
    given = {} if settings is None else read_json(settings)
    with client_of(url, key) as client:
        if backend is None:
            made = client.chips.register(name, preset=preset, seed=seed, overrides=given)
        else:
            made = client.chips.register_backend(name, backend, given)
    words = f"The chip {made.name} is registered as {short_id(made.id)}."
    answer(made, words, as_json=as_json)


@chips_app.command()
def retire(chip: Chip, url: Url = DEFAULT_URL, key: Key = "", as_json: AsJson = False) -> None:
    """Retire a chip: it takes no more jobs, its history stays."""
    with client_of(url, key) as client:
        chip_id = client.chips.get(chip).id
        client.chips.retire(chip_id)
        retired = client.chips.get(chip_id)
    answer(retired, f"The chip {retired.name} is retired.", as_json=as_json)


@chips_app.command()
def policy(
    chip: Chip,
    new: SetPolicy = None,
    drop: Drop = False,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Show the policy of a chip, or set or delete it: when it is probed and calibrated."""
    if drop and new is not None:
        fail("Give --set or --drop, not both.", ExitCode.USAGE)
    wanted = None if new is None else _policy(read_json(new))
    with client_of(url, key) as client:
        if drop:
            client.chips.drop_policy(chip)
            say(f"The chip {chip} has no policy any more.")
            return
        found = (
            client.chips.policy(chip) if wanted is None else client.chips.set_policy(chip, wanted)
        )
    if as_json:
        show_json(found)
    else:
        show_facts(_facts(found))


_FIGURES = ("Accuracy", "Drift", "Points lost", "Version", "Queue")


def _loss(chip: ChipView) -> dict[str, float] | None:
    return None if chip.predicted_loss is None else chip.predicted_loss.model_dump()


def _policy(given: dict[str, Any]) -> PolicyRequest:
    try:
        return PolicyRequest.model_validate(given)
    except ValidationError as error:
        fail(first_fault("policy", error), ExitCode.USAGE)


def _facts(found: PolicyView) -> list[tuple[str, object]]:
    """Return what a policy says, field by field; settings as JSON."""
    fields = found.model_dump(mode="json", exclude={"chip_id", "created_at", "updated_at"})
    plain = {name: value for name, value in fields.items() if value not in (None, [])}
    return [
        (name, json.dumps(value) if isinstance(value, dict | list | bool) else value)
        for name, value in plain.items()
    ]
