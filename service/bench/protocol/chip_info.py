"""The description of a chip that an agent sends, checked before it is used. Needs no torch."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from ltl_core.chip import ChipInfo
from ltl_core.chip_info import info_from_json

_NUMBER_MAX = 1e15


def parse_chip_info(data: Mapping[str, Any]) -> ChipInfo:
    """Read a chip info from JSON. Raises ValueError with what is wrong in it."""
    try:
        info = info_from_json(data)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the chip info cannot be read ({error!r})") from error
    _check_types(info)
    _check_bounds(data)
    smallest = min(info.tile_rows, info.tile_columns, info.tiles, info.weight_code_max)
    if smallest < 1 or not info.trim_code_min <= 0 <= info.trim_code_max or not info.observables:
        raise ValueError("the chip info has no tiles, no weight codes, no trims or no observables")
    if info.side_rank < 0:
        raise ValueError("the chip info has a negative side_rank")
    if not (info.trim_lsb > 0 and info.time_step > 0):
        raise ValueError("the chip info needs a trim_lsb and a time_step above zero")
    return info


def _check_types(info: ChipInfo) -> None:
    strict = ConfigDict(strict=True, allow_inf_nan=False)
    try:
        TypeAdapter(ChipInfo, config=strict).validate_python(info)
    except ValidationError as error:
        first: Any = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"the chip info is wrong at {where}: {first['msg']}") from error


def _check_bounds(data: Mapping[str, Any]) -> None:
    """Refuse numbers and texts that no chip has, and that a database or a page cannot hold."""
    for name, value in data.items():
        if isinstance(value, Mapping):
            _check_bounds(value)
        elif isinstance(value, str) and not (len(value) <= 200 and value.isprintable()):
            raise ValueError(f"the chip info's {name} is no printable text of 200 characters")
        elif isinstance(value, int | float) and abs(value) > _NUMBER_MAX:
            raise ValueError(f"the chip info's {name} is beyond {_NUMBER_MAX:g}")
