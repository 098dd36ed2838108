"""The playground in a real browser over the running service."""

import re
from typing import TYPE_CHECKING

import pytest

from tests.live.conftest import OpenPage
from tests.support.serving import ServiceProcess

pytest.importorskip("playwright.sync_api")

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def origin(service: ServiceProcess) -> str:
    return f"http://127.0.0.1:{service.port}"


def tiles(page: "Page") -> list[str]:
    """The names of the wall's samples, once there are some."""
    page.wait_for_selector(".wall:not(.stale) .tile")
    return [tile.get_attribute("aria-label") or "" for tile in page.locator(".tile").all()]


def test_the_wall_shows_samples_with_seed_and_realness(origin: str, open_page: OpenPage) -> None:
    names = tiles(open_page(origin, "/#model=classes&seed=7"))
    assert re.fullmatch(r"seed 7, class \d, realness \d+%", names[0])
    assert [int(name.split(",")[0].removeprefix("seed ")) for name in names] == list(range(7, 7 + len(names)))
