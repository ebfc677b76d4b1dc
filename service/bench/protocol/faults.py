"""Errors of the port as JSON and back: an error keeps its type and its attributes over HTTP."""

from collections.abc import Iterator, Mapping
from typing import Any

from chip_sim import errors as simulator_errors
from ltl_core import errors as core_errors
from ltl_core.errors import CalibrationError


def fault_to_json(error: CalibrationError) -> dict[str, Any]:
    """Return the class, the sentence and the plain attributes of an error as JSON."""
    attributes = {name: value for name, value in vars(error).items() if _is_plain(value)}
    return {"error": type(error).__name__, "detail": str(error), "attributes": attributes}


def fault_from_json(data: Mapping[str, Any]) -> CalibrationError | None:
    """Read what `fault_to_json` wrote; return None if it is no error of the port."""
    kind = dict(_error_classes()).get(str(data.get("error")))
    detail, attributes = data.get("detail"), data.get("attributes")
    if kind is None or not isinstance(detail, str) or not isinstance(attributes, Mapping):
        return None
    error = kind.__new__(kind, detail)  # not `__init__`: it takes the parts of the sentence
    vars(error).update({str(name): _as_tuple(value) for name, value in attributes.items()})
    return error


def _error_classes() -> Iterator[tuple[str, type[CalibrationError]]]:
    for module in (core_errors, simulator_errors):
        for name, value in vars(module).items():
            if isinstance(value, type) and issubclass(value, CalibrationError):
                yield name, value


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple | list):
        return all(_is_plain(item) for item in value)
    return isinstance(value, str | int | float | None)


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value
