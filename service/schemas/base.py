"""Base classes of every body: closed requests, open views, pages of lists."""

from typing import Annotated, Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Item = TypeVar("Item")
Json = dict[str, Any]
JsonObject = dict[str, JsonValue]
ResourceId = Annotated[str, Field(min_length=1, max_length=36)]
Title = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
SAFETENSORS = "application/vnd.safetensors"  # the media type of every block of tensors


class Request(BaseModel):
    """A body sent to the service; fields that the service does not know are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class View(BaseModel):
    """A body sent by the service; a client ignores fields that it does not know."""

    model_config = ConfigDict(frozen=True, from_attributes=True)


class Page(View, Generic[Item]):
    """One page of a list; `next_cursor` is null on the last page."""

    items: list[Item]
    next_cursor: str | None = None
