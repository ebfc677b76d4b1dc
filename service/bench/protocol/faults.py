"""Errors of the port as plain JSON, and back: what a chip refuses keeps its type over HTTP."""

from collections.abc import Iterator, Mapping
from typing import Any

from chip_sim import errors as simulated
from ltl_core import errors as core
from ltl_core.errors import CalibrationError


def fault_to_json(error: CalibrationError) -> dict[str, Any]:
    """Its class, its sentence, its attributes."""
    attributes = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return {"error": type(error).__name__, "detail": str(error), "attributes": attributes}


def fault_from_json(data: Mapping[str, Any]) -> CalibrationError | None:
    """What `fault_to_json` wrote; None where it is no error of the port."""
    kind = dict(_known()).get(str(data.get("error")))
    detail, attributes = data.get("detail"), data.get("attributes")
    if kind is None or not isinstance(detail, str) or not isinstance(attributes, Mapping):
        return None
    error = kind.__new__(kind, detail)  # `__init__` takes what the sentence is made of
    vars(error).update({str(name): _frozen(value) for name, value in attributes.items()})
    return error


def _known() -> Iterator[tuple[str, type[CalibrationError]]]:
    for module in (core, simulated):
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, CalibrationError):
                yield name, value


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, str | int | float | None)


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
