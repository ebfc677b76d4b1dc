"""Bodies about webhooks."""

from datetime import datetime
from typing import Annotated

from pydantic import AnyHttpUrl, Field, StrictBool, UrlConstraints

from service.schemas.base import Request, View

_URL_MAX = 500  # characters
Url = Annotated[AnyHttpUrl, UrlConstraints(max_length=_URL_MAX)]
EventType = Annotated[str, Field(min_length=1, max_length=40, pattern=r"^[a-z][a-z_.]*$")]
EventTypes = Annotated[list[EventType], Field(min_length=1, max_length=50)]
_ONE = "[A-Za-z0-9+/]"  # character of base64, of which four stand for three bytes
# whsec_ and 24 to 64 bytes in base64, as Standard Webhooks has it.
_SECRET = (
    f"^whsec_(({_ONE}{{4}}){{8,20}}({_ONE}{{4}}|{_ONE}{{3}}=|{_ONE}{{2}}==)?"
    f"|({_ONE}{{4}}){{21}}{_ONE}{{2}}==)$"
)
Secret = Annotated[str, Field(min_length=38, max_length=94, pattern=_SECRET)]


class WebhookRequest(Request):
    """A webhook to be made."""

    url: Url
    events: EventTypes | None = None  # null: all but job.progress and job.log
    secret: Secret | None = Field(default=None, repr=False)  # null: one is made


class WebhookPatch(Request):
    """What is to be changed of a webhook; what is left out stays."""

    url: Url | None = None
    events: EventTypes | None = None
    secret: Secret | None = Field(default=None, repr=False)
    enabled: StrictBool | None = None  # true: events are sent from the next one on


class WebhookView(View):
    """A webhook, without its secret."""

    id: str
    url: str
    events: list[str] | None
    enabled: bool
    created_at: datetime
    updated_at: datetime
    last_seq: int  # events up to this number are done with
    attempts: int  # at the next event
    failing_since: datetime | None
    next_try_at: datetime
    delivered_at: datetime | None
    given_up: int
    error: str | None


class NewWebhookView(WebhookView):
    """A webhook that was just made, with its secret."""

    secret: str = Field(repr=False)  # shown only once; the service stores it encrypted


class DeliveryView(View):
    """What came of a test delivery."""

    delivered: bool
    error: str | None  # null: it was delivered
    duration_s: float
