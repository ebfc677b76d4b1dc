"""The web pages. A small script keeps them current; they are complete without it."""

from service.api.threads import ServiceRouter
from service.web import assets, problem_routes, sign_in
from service.web.audit import routes as audit
from service.web.chip import policy_routes as chip_policy
from service.web.chip import routes as chip
from service.web.fleet import routes as fleet
from service.web.job import routes as job
from service.web.keys import routes as keys
from service.web.queue import routes as queue
from service.web.teachers import routes as teachers

router = ServiceRouter(include_in_schema=False)
for _page in (
    chip_policy,  # before `chip`: the policy has no place among the actions of a chip
    chip,
    fleet,
    job,
    queue,
    teachers,
    audit,
    keys,
    sign_in,
    problem_routes,
    assets,
):
    router.include_router(_page.router)
