"""What pydantic finds wrong in a request: places in it (JSON pointers, RFC 6901) and messages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from service import request_errors
from service.schemas.resources import FieldError

_OF_THE_TAG = ("union_tag_invalid", "union_tag_not_found")  # located at the union, not at its tag


def errors_of_request(error: RequestValidationError) -> list[FieldError]:
    """Return what is wrong in the body, the path, the query and the headers of a request."""
    return [_field_error(one, error.body) for one in error.errors()]


def field_errors(found: Iterable[Mapping[str, Any]], prefix: str = "") -> list[FieldError]:
    """Return pydantic's errors of a part of the body, which begins at the pointer `prefix`."""
    return [
        FieldError(pointer=prefix + _pointer(error["loc"]), message=error["msg"]) for error in found
    ]


def invalid_fields(error: ValidationError, prefix: str) -> request_errors.InvalidFieldsError:
    """Return the same as an error that can be raised."""
    found = field_errors(error.errors(), prefix)
    return request_errors.InvalidFieldsError(
        *(request_errors.FieldProblem(one.pointer or "", one.message) for one in found)
    )


def place_of(error: FieldError) -> str:
    """Name the place of an error in a sentence."""
    return error.pointer or error.parameter or "the body"


def _field_error(error: Mapping[str, Any], body: object) -> FieldError:
    place, *inside = error["loc"]
    if place == "body":
        location = _without_tags(inside, body)
        if error["type"] in _OF_THE_TAG:
            location.append(str(error["ctx"]["discriminator"]).strip("'"))
        return FieldError(pointer=_pointer(location), message=error["msg"])
    return FieldError(parameter=".".join(map(str, inside)), message=error["msg"])


def _without_tags(location: Sequence[str | int], body: object) -> list[str | int]:
    """Drop the tag of a union, which pydantic's location has and the body has not."""
    if isinstance(body, Mapping) and location and location[0] == body.get("kind"):
        return list(location[1:])
    return list(location)


def _pointer(location: Sequence[str | int]) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)
