"""Base classes of every body: closed requests, open views, pages of lists."""

import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    TypeAdapter,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from service.formatting import short_id

Item = TypeVar("Item")


class DescribedAs:
    """Annotates JSON that is handed on as it is with the JSON schema of a model, or of several."""

    def __init__(self, *models: Any) -> None:
        self._models = models

    def __get_pydantic_json_schema__(
        self, _: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        found = [handler(TypeAdapter(model).core_schema) for model in self._models]
        return found[0] if len(found) == 1 else {"anyOf": found}


Json = dict[str, Any]
JsonObject = dict[str, JsonValue]
ResourceId = Annotated[str, Field(min_length=1, max_length=36)]
NAME_MAX = 200  # characters
IdOrName = Annotated[str, Field(min_length=1, max_length=NAME_MAX)]
INTEGER_MAX = 2**31 - 1  # of a column of integers
SEQ_MAX = 2**53 - 1  # of the number of an event; larger ones are no integers in JavaScript
Interval = Annotated[float, Field(ge=1, le=10 * 366 * 86_400)]  # s, at most ten years


def _shown_as_it_is(text: str) -> str:
    """Return the text. Raises ValueError where a reader would see another one, or none."""
    if not text.strip():
        raise ValueError("a name needs a character that is no space")
    if any(unicodedata.category(one) in _HIDDEN or one in _INVISIBLE for one in text):
        raise ValueError(
            "a name takes no control character, no zero-width one, and none that turns the "
            "direction of writing"
        )
    return text


# Categories of Unicode: control, format (zero width, direction), surrogate, private, separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
# Of other categories, but shown as nothing: joiners, fillers, selectors of variants.
_INVISIBLE = frozenset(
    map(
        chr,
        (
            *(0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0),
            *range(0x180B, 0x1810),
            *range(0xFE00, 0xFE10),
            *range(0xE0100, 0xE01F0),
        ),
    )
)
Title = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_shown_as_it_is)]
SAFETENSORS = "application/vnd.safetensors"  # the media type of every block of tensors
BYTES = "application/octet-stream"  # what clients that know no safetensors may send and read


_YEARS = range(2000, 2200)


def _in_utc(time: datetime) -> datetime:
    """Return the same instant in UTC. Raises ValueError for a year of no use to anybody."""
    if time.year not in _YEARS:
        raise ValueError(f"the year has to be from {_YEARS.start} to {_YEARS.stop - 1}")
    return time.astimezone(UTC)


Instant = Annotated[
    AwareDatetime,
    AfterValidator(_in_utc),
    Field(json_schema_extra={"pattern": "^2[01][0-9]{2}-"}),  # what a client reads of the years
]


class Request(BaseModel):
    """A body sent to the service; fields that the service does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


_SHOWN_FIRST = ("id", "name", "kind", "version", "status", "state", "health", "accuracy", "type")


class View(BaseModel):
    """A body sent by the service; a client ignores fields that it does not know."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    def __repr__(self) -> str:
        """Return a short form: what somebody looks at first. `model_dump` has all fields."""
        shown = {
            name: short_id(str(value)) if name == "id" else value
            for name in _SHOWN_FIRST
            if isinstance(value := getattr(self, name, None), str | int | float)
        }
        if not shown:
            return super().__repr__()
        return f"{type(self).__name__}({', '.join(f'{k}={v!s}' for k, v in shown.items())})"


class Page(View, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last page.

    `unreadable` names what belongs to the page but is left out because its row in the database is
    damaged; the log of the service says more.
    """

    items: list[Item]
    next_cursor: str | None = None
    unreadable: list[str] = []
