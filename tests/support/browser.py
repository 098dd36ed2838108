"""A real Chromium for tests of pages, and what a page did in it that no page may do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request

CHROMIUM: Final = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
TIMEOUT_MS: Final = 15_000.0
# Chromium says the first of every answer that is no success; tests that provoke one look at the page's own words. It
# says the second where a busy machine takes seconds to begin a script.
NO_FAULTS: Final = ("Failed to load resource", "preloaded using link preload but not used")


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Run a browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415  (tests are collected where it is not installed)

    assert CHROMIUM is not None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watch:
    """What is wrong with a page, as far as it was noticed: complaints in its console, addresses of other hosts.

    Violations of the content security policy are complaints, too.

    Attributes:
        origin: scheme, host and port that the page may ask.
        complaints: errors and warnings of the console, exceptions of scripts.
        asked: addresses of all requests.
    """

    origin: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    @property
    def strangers(self) -> list[str]:
        """Addresses that were asked and are not the page's own."""
        return [url for url in self.asked if not url.startswith(("data:", "blob:")) and origin_of(url) != self.origin]

    def follow(self, page: "Page") -> None:
        """Note what this page does from now on."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", self._note)

    def _hear(self, message: "ConsoleMessage") -> None:
        if message.type in {"error", "warning"} and not any(each in message.text for each in NO_FAULTS):
            self.complaints.append(message.text)

    def _note(self, request: "Request") -> None:
        self.asked.append(request.url)


def origin_of(url: str) -> str:
    """Scheme, host and port of an address."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@contextmanager
def watched(context: "BrowserContext", origin: str) -> Iterator["Page"]:
    """Open a page; at the end it must have had nothing to complain about, and asked no other host."""
    page = context.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    watch = Watch(origin)
    watch.follow(page)
    yield page
    assert watch.complaints == [], watch.complaints
    assert watch.strangers == [], watch.strangers
