"""The links in the header: the pages that a key may see, and which of them is shown."""

from typing import NamedTuple

from fastapi import Request

from service.api.auth import scopes_of
from service.states import Scope


class Link(NamedTuple):
    """A link to a page."""

    path: str
    name: str
    is_here: bool  # whether this page, or one below it, is shown


class _Place(NamedTuple):
    """A page that is linked from every other one."""

    path: str
    name: str
    scope: Scope  # that a key needs to see it
    below: tuple[str, ...] = ()  # begins of the addresses of pages that belong to it


_PLACES = (
    _Place("/", "Fleet", Scope.READ, ("/chips/",)),
    _Place("/queue", "Queue", Scope.READ, ("/jobs/",)),
    _Place("/teachers", "Teachers", Scope.READ, ("/teachers/", "/students/")),
    _Place("/audit", "Audit", Scope.ADMIN),
    _Place("/keys", "Keys", Scope.ADMIN, ("/keys/",)),
)


def navigation(request: Request) -> tuple[Link, ...]:
    """Return the links that the key of a request may follow; none without a session."""
    scopes, path = scopes_of(request), request.url.path
    return tuple(
        Link(place.path, place.name, path == place.path or path.startswith(place.below))
        for place in _PLACES
        if place.scope in scopes
    )
