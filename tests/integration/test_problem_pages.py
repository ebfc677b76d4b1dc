"""Each problem type is a path that says what the problem means and what to do."""

import re
from pathlib import Path

from fastapi.testclient import TestClient

from service.api import errors
from service.web.problems import PROBLEM_PAGES
from tests.world import World


def test_every_problem_of_the_table_has_a_page_and_no_other() -> None:
    kinds = {kind.slug for kind in errors.PROBLEMS.values()}
    source = Path(errors.__file__).read_text(encoding="utf-8")
    kinds |= set(re.findall(r'^_[A-Z]+ = Kind\(\d+, "([a-z-]+)"', source, re.MULTILINE))
    of_http = {"bad-request", "method-not-allowed"}  # no exception of ours
    assert kinds | of_http == PROBLEM_PAGES.keys()


def test_the_type_of_a_problem_is_served_without_a_key(world: World) -> None:
    stranger = TestClient(world.client.app)
    refused = [
        world.client.get("/v1/chips/none"),
        world.client.put("/v1/chips"),
        world.client.post("/v1/chips", json={}),
        stranger.get("/v1/chips"),
    ]
    for answer in refused:
        where = answer.json()["type"]
        page = stranger.get(where)
        assert page.status_code == 200, where
        assert PROBLEM_PAGES[where.removeprefix("/problems/")].meaning in page.text
    assert stranger.get("/problems/unheard-of").status_code == 404
    whole = stranger.get("/problems/").text
    assert all(f'href="/problems/{slug}"' in whole for slug in PROBLEM_PAGES)
