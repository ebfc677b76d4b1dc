"""Route of the style, the scripts and the icon."""

from pathlib import Path

from fastapi import Response
from fastapi.responses import FileResponse

from service.api.threads import ServiceRouter

_STATIC = Path(__file__).parent / "static"
_ASSETS = frozenset({"tandemcal.css", "live.js", "plots.js", "strip.js", "icon.svg"})

router = ServiceRouter(include_in_schema=False)


@router.get("/static/{name}")
def static(name: str) -> Response:
    """Serve style, script and icon. They need no key, because the login page uses them."""
    if name not in _ASSETS:
        return Response(status_code=404)
    return FileResponse(_STATIC / name, headers={"Cache-Control": "no-cache"})
