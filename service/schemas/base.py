"""What every body of a request or an answer is made of: closed requests, open views, pages."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Item = TypeVar("Item")
Json = dict[str, Any]
JsonObject = dict[str, JsonValue]
ResourceId = Annotated[str, Field(min_length=1, max_length=36)]
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
SAFETENSORS = "application/vnd.safetensors"  # the media type of every block of tensors


class Request(BaseModel):
    """Sent to the service: what it does not know is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class View(BaseModel):
    """Sent by the service: a client ignores what it does not know."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(View, Generic[Item]):
    """A part of a list; `next_cursor` is null on the last one."""

    items: list[Item]
    next_cursor: str | None = None
