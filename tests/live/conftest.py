"""A browser that the tests of a module share, and a page of its own for each test."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.browser import CHROMIUM, chromium, watched

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OpenPage = Callable[..., "Page"]


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One Chromium a module."""
    pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is on PATH (chromium, chromium-browser, google-chrome)")
    with chromium() as running:
        yield running


@pytest.fixture
def open_page(browser: "Browser") -> Iterator[OpenPage]:
    """Opens pages in contexts of their own: `open_page(origin, path, script=…, **options of the context)`.

    The script runs before those of the page.

    At the end of the test each of them must have had an empty console, and have asked no other host.
    """
    with ExitStack() as stack:

        def open_one(origin: str, path: str = "/", script: str = "", **options: Any) -> "Page":  # noqa: ANN401  (playwright's)
            context = browser.new_context(**options)
            stack.callback(context.close)
            context.add_init_script(script)
            page = stack.enter_context(watched(context, origin))
            page.goto(origin + path)
            return page

        yield open_one
