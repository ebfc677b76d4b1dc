"""Who looks at a page, and what their key allows: the pages show no button that will be refused."""

from typing import NamedTuple

from fastapi import Request

from service.api.auth import COOKIE, scopes_of
from service.states import Scope


class Viewer(NamedTuple):
    """What the key that looks at a page may do."""

    can_read: bool
    can_operate: bool
    can_administer: bool


def viewer_of(request: Request) -> Viewer:
    """Return what the key of a request may do; nothing without a valid key."""
    scopes = scopes_of(request)
    return Viewer(Scope.READ in scopes, Scope.OPERATE in scopes, Scope.ADMIN in scopes)


def has_ended(request: Request) -> bool:
    """Tell whether the request carries a session that is not valid any more."""
    return COOKIE in request.cookies and getattr(request.state, "principal", None) is None
