"""ChipInfo as JSON data, to be sent and stored."""

from collections.abc import Mapping
from typing import Any

from ltl_core.chip import ChipInfo, Observable, Register, TuningInfo


def info_to_json(info: ChipInfo) -> dict[str, Any]:
    """Return the information about a chip as JSON data; observables are sorted."""
    plain = info._asdict() | {"observables": sorted(info.observables)}
    if (tuning := info.tuning) is None:
        return plain
    registers = {
        name: value._asdict() if isinstance(value, Register) else value
        for name, value in tuning._asdict().items()
    }
    return plain | {"tuning": registers}


def info_from_json(data: Mapping[str, Any]) -> ChipInfo:
    """Read data of `info_to_json`; fields that a later version added are ignored.

    Raises KeyError, TypeError or ValueError if a field is missing or of another type.
    """
    plain = {name: data[name] for name in ChipInfo._fields if name in data}
    plain["observables"] = frozenset(map(Observable, data["observables"]))
    if (tuning := data.get("tuning")) is not None:
        values: dict[str, Any] = {
            name: Register(**value) if isinstance(value, Mapping) else value
            for name, value in tuning.items()
            if name in TuningInfo._fields
        }
        plain["tuning"] = TuningInfo(**values)
    return ChipInfo(**plain)
