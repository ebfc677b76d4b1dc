"""Routes of the pages that say what a type of problem means."""

from fastapi import Request, Response

from service.api.threads import ServiceRouter
from service.web.problems import PROBLEM_PAGES
from service.web.rendering import show, show_problem

router = ServiceRouter(include_in_schema=False)


@router.get("/problems/")
def problems(request: Request) -> Response:
    """List the types of problems, as the field `type` of an answer names them."""
    return show(request, "problem_types.html", pages=PROBLEM_PAGES)


@router.get("/problems/{slug}")
def problem_type(request: Request, slug: str) -> Response:
    """Show what a type of problem means and what to do. It needs no key."""
    if slug not in PROBLEM_PAGES:
        detail = "There is no problem of this type; /problems/ lists them."
        return show_problem(request, 404, "Not found", detail)
    return show(request, "problem_type.html", slug=slug, page=PROBLEM_PAGES[slug])
