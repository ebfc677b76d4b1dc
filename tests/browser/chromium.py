"""Chromium, and pages in it that note what must not happen: console errors, requests elsewhere."""

import importlib.util
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:  # the tests are skipped where it is not installed
    from playwright.sync_api import Browser, ConsoleMessage, Page

PATIENCE = 60_000  # ms; other work may share the machine
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    # No other host is ever found, whatever a page asks for.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)


def missing() -> str | None:
    """Return what these tests lack on this machine, or None."""
    for package in ("playwright", "axe_playwright_python"):
        if importlib.util.find_spec(package) is None:
            return f"the Python package {package} is not installed"
    return None if _program() else "Chromium is not installed"


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Start a browser. While it lives, this thread cannot run another event loop."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_program(), args=[*_OPTIONS])
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A tab, and what it noted."""

    def __init__(self, page: "Page", url: str) -> None:
        self.page, self.url = page, url
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(PATIENCE)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", lambda request: self._note(request.url))

    def open(self, path: str) -> None:
        """Go to a page of the service."""
        self.page.goto(self.url + path)

    def _hear(self, said: "ConsoleMessage") -> None:
        if said.type == "error":
            self.errors.append(said.text)

    def _note(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob") and parts.netloc != urlsplit(self.url).netloc:
            self.foreign.append(address)


@contextmanager
def visiting(browser: "Browser", url: str, key: str | None, width: int = 1280) -> Iterator[Visitor]:
    """Open a tab, signed in if a key is given."""
    context = browser.new_context(viewport={"width": width, "height": 900})
    try:
        if key:
            own = {"Origin": url}
            signed_in = context.request.post(f"{url}/login", form={"key": key}, headers=own)
            assert signed_in.ok, signed_in.status
        yield Visitor(context.new_page(), url)
    finally:
        context.close()


def _program() -> str | None:
    return next(filter(None, map(shutil.which, _NAMES)), None)
