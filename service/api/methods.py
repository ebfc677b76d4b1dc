"""The methods that a path accepts, for the header `Allow`."""

import re

from fastapi import Request
from fastapi.routing import RouteContext, iter_route_contexts

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


def methods_of(request: Request) -> str:
    """List the methods that a path accepts.

    Several routes may share a path, and the router names the methods of one of them alone. A path
    that is named as a whole, such as `/v1/jobs/cancel`, is no other one with an id.
    """
    path = request.scope["path"]
    routes = [one for one in iter_route_contexts(request.app.routes) if _fits(one, path)]
    fewest = min((_parameters(one) for one in routes), default=0)
    allowed = {
        method for one in routes if _parameters(one) == fewest for method in one.methods or ()
    }
    return ", ".join(method for method in _METHODS if method in allowed)


def _fits(route: RouteContext, path: str) -> bool:
    pattern: re.Pattern[str] | None = getattr(route, "path_regex", None)
    return pattern is not None and pattern.match(path) is not None


def _parameters(route: RouteContext) -> int:
    """Return the number of parts of the route's path that may be any."""
    return len(getattr(route, "param_convertors", ()))
