"""What holds for every page: readable by all, no wider than a phone, no error, no other host."""

from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.chromium import Visitor, visiting
from tests.browser.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("fleet", "chip", "job", "queue", "teachers", "teacher", "student", "audit", "keys")
FORMS = ("calibrate", "tune", "probe", "retire", "policy")
THEMES = ("light", "dark")
PHONES = (390, 320)  # px
_TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def violations(page: "Page") -> list[str]:
    """Return what axe finds wrong, in both themes."""
    return [f"{theme}: {found}" for theme in THEMES for found in _violations(page, theme)]


def _violations(page: "Page", theme: Any) -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(color_scheme=theme)
    found = Axe().run(page).response["violations"]
    return [f"{one['id']} at {node['html'][:120]}" for one in found for node in one["nodes"]]


@pytest.mark.parametrize("name", NAMES)
def test_axe_finds_nothing(site: Site, visitor: Visitor, name: str) -> None:
    visitor.open(site.paths()[name])
    assert visitor.page.locator("h1").count() == 1
    assert violations(visitor.page) == []


@pytest.mark.parametrize("form", FORMS)
def test_axe_finds_nothing_on_the_forms_of_a_chip(visitor: Visitor, form: str) -> None:
    visitor.open(f"/chips/bench-1/{form}")
    assert visitor.page.locator("main form").count() == 1
    assert violations(visitor.page) == []


def test_axe_finds_nothing_on_the_page_to_sign_in(stranger: Visitor) -> None:
    stranger.open("/login?ended=1")
    assert violations(stranger.page) == []


def test_axe_finds_nothing_where_there_is_no_page(visitor: Visitor) -> None:
    visitor.open("/chips/nobody")
    assert len(visitor.errors) == 1  # the browser notes the 404
    visitor.errors.clear()
    assert violations(visitor.page) == []


def test_axe_finds_what_is_wrong(visitor: Visitor) -> None:
    visitor.open("/queue")
    visitor.page.evaluate("document.querySelector('main').append(new Image())")
    assert any("image-alt" in found for found in violations(visitor.page))


@pytest.mark.parametrize("width", PHONES)
def test_no_page_is_wider_than_a_phone(site: Site, browser: "Browser", width: int) -> None:
    with visiting(browser, site.url, site.key, width) as visitor:
        wide = {}
        for name, path in site.paths().items():
            visitor.open(path)
            wide[name] = visitor.page.evaluate(_TOO_WIDE)
        assert wide == dict.fromkeys(NAMES, 0)
        visitor.page.evaluate("document.querySelector('main').style.minWidth = '2000px'")
        assert visitor.page.evaluate(_TOO_WIDE) > 1000  # the control


def test_errors_and_requests_elsewhere_are_noted(visitor: Visitor) -> None:
    from playwright.sync_api import Error

    visitor.open("/queue")
    assert (visitor.errors, visitor.foreign) == ([], [])
    visitor.page.evaluate("console.error('a control')")
    assert visitor.errors == ["a control"]
    visitor.page.evaluate("fetch('http://other.example/').catch(() => null)")
    assert any("Content Security Policy" in error for error in visitor.errors)
    with pytest.raises(Error, match="ERR_NAME_NOT_RESOLVED"):
        visitor.page.goto("http://other.example/")
    assert "http://other.example/" in visitor.foreign
    visitor.errors.clear()
    visitor.foreign.clear()
