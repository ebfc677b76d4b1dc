"""One service and one browser for all tests of the folder; a tab for each test."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.browser.chromium import Visitor, chromium, missing, visiting
from tests.browser.site import Site, a_site
from tests.integration.conftest import seeded_lab, warm
from tests.integration.jobs_lab import SeededLab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["seeded_lab", "warm"]


@pytest.fixture(scope="package", autouse=True)
def _installed() -> None:
    if lack := missing():
        pytest.skip(f"No test of the pages in a browser: {lack}.")


@pytest.fixture(scope="package")
def site(
    _installed: None, seeded_lab: SeededLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """The service."""
    with a_site(seeded_lab, tmp_path_factory.mktemp("site")) as site:
        yield site


# For the package and not for the session: tests of other folders run event loops of their own.
@pytest.fixture(scope="package")
def browser(_installed: None) -> Iterator["Browser"]:
    """The browser."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(site: Site, browser: "Browser") -> Iterator[Visitor]:
    """A tab that is signed in. No console error and no request elsewhere may be left in it."""
    with visiting(browser, site.url, site.key) as visitor:
        yield visitor
        assert (visitor.errors, visitor.foreign) == ([], [])


@pytest.fixture
def stranger(site: Site, browser: "Browser") -> Iterator[Visitor]:
    """A tab that is not signed in."""
    with visiting(browser, site.url, None) as visitor:
        yield visitor
        assert (visitor.errors, visitor.foreign) == ([], [])
