"""`tandemcal chips calibrate`, `tune` and `probe`: jobs with one chip."""

from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ltl_core.settings import CalibrationSettings
from service.cli.chips import Chip, Settings, chips_app
from service.cli.client import (
    DEFAULT_URL,
    AsJson,
    Key,
    Url,
    Wait,
    client_of,
    fail,
    first_fault,
    read_json,
)
from service.cli.exit_codes import ExitCode
from service.cli.submitted import conclude
from service.client.sdk import Tandemcal

Student = Annotated[
    str | None,
    typer.Option(help="Id or short id of a student, or its teacher (default: that in force)."),
]
Samples = Annotated[int | None, typer.Option(help="Budget of samples.", min=1)]


@chips_app.command()
def calibrate(
    chip: Chip,
    student: Student = None,
    samples: Samples = None,
    settings: Settings = None,
    wait: Wait = True,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Calibrate a chip to a golden student."""
    chosen = _calibration({} if settings is None else read_json(settings), samples)
    with client_of(url, key) as client:
        named = student or _student_in_force(client, chip)
        job = client.jobs.calibrate(chip, named, chosen)
        conclude(client, job, wait=wait, as_json=as_json)


@chips_app.command()
def tune(
    chip: Chip,
    student: Student = None,
    wait: Wait = True,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Tune the registers of a chip's circuits, before a calibration."""
    with client_of(url, key) as client:
        conclude(client, client.jobs.tune(chip, student), wait=wait, as_json=as_json)


@chips_app.command()
def probe(
    chip: Chip,
    wait: Wait = True,
    url: Url = DEFAULT_URL,
    key: Key = "",
    as_json: AsJson = False,
) -> None:
    """Measure how far a chip has drifted, and wait for the result."""
    with client_of(url, key) as client:
        conclude(client, client.jobs.probe(chip), wait=wait, as_json=as_json)


def _calibration(given: dict[str, Any], samples: int | None) -> CalibrationSettings:
    if samples is not None:
        given = given | {"budget": given.get("budget", {}) | {"samples": samples}}
    try:
        return CalibrationSettings.model_validate(given)
    except ValidationError as error:
        fail(first_fault("settings", error), ExitCode.USAGE)


def _student_in_force(client: Tandemcal, chip: str) -> str:
    """Return the student of the newest version of a chip; end the command if it has none."""
    newest = next(client.chips.weights(chip), None)
    if newest is None:
        fail(f"The chip {chip} has no version yet; name a student with --student.", ExitCode.USAGE)
    return newest.student_id
