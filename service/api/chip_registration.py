"""What a chip is made of before it is stored: checked settings, and what it says of itself."""

import json
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from uuid_utils import uuid7

from chip_sim.spec import info_of
from ltl_core.chip_info import info_to_json
from service.api.context import Context
from service.api.field_errors import invalid_fields
from service.api.threads import run_in
from service.bench.drivers import find_driver, is_driver
from service.bench.opening import Opened, open_in_child
from service.bench.simulated import spec_of
from service.db.repositories.agents import BACKEND
from service.db.tables import Chip
from service.request_errors import FieldProblem, InvalidFieldsError
from service.schemas.base import JsonObject
from service.schemas.resources import ChipRequest, SimulatedChipSettings
from service.states import ChipHealth

_SETTINGS_BYTES = 32 * 1024


def make_chip_row(body: ChipRequest, context: Context, now: datetime) -> Chip:
    """Return the row of a chip; of a driver's chip, `info` is empty until the driver was opened.

    Raises InvalidFieldsError, UnknownPresetError and UnknownChipBackendError.
    """
    chip_id = str(uuid7())
    settings: dict[str, Any] = dict(body.settings)
    info: dict[str, Any] = {}
    if is_driver(body.backend) or body.backend == BACKEND:
        _check_size(body.settings)
        _check_backend(body.backend, context)
    else:
        settings = _simulated_settings(body.settings)
        info = _simulated_info(chip_id, settings)
    return Chip(
        id=chip_id,
        name=body.name,
        backend=body.backend,
        settings=settings,
        info=info,
        health=ChipHealth.UNKNOWN,
        created_at=now,
    )


async def info_of_driver(chip: Chip, context: Context) -> dict[str, Any]:
    """Open the chip's driver in a process of its own; return the information, under our chip id.

    Raises DriverFailedError.
    """
    driver = find_driver(chip.backend, context.settings.chip_backends)
    opened, limit_s = Opened(driver, chip.id, chip.settings), context.settings.driver_open_s
    info = await run_in(context.threads.openings, open_in_child, opened, limit_s)
    return info | {"chip_id": chip.id}


def _simulated_settings(settings: JsonObject) -> dict[str, Any]:
    try:
        return SimulatedChipSettings.model_validate(settings).model_dump(mode="json")
    except ValidationError as error:
        raise invalid_fields(error, "/settings") from None


def _simulated_info(chip_id: str, settings: dict[str, Any]) -> dict[str, Any]:
    try:
        return info_to_json(info_of(spec_of(settings), chip_id))
    except ValidationError as error:
        raise invalid_fields(error, "/settings/overrides") from None


def _check_backend(backend: str, context: Context) -> None:
    if backend == BACKEND:
        message = "a chip behind an agent is registered by its agent: start `tandemcal agent` there"
        raise InvalidFieldsError(FieldProblem("/backend", message))
    find_driver(backend, context.settings.chip_backends)


def _check_size(settings: JsonObject) -> None:
    """Refuse settings that would make every list of chips large. Raises InvalidFieldsError."""
    if (size := len(json.dumps(settings).encode())) > _SETTINGS_BYTES:
        message = f"the settings have {size} bytes as JSON; at most {_SETTINGS_BYTES} are accepted"
        raise InvalidFieldsError(FieldProblem("/settings", message))
