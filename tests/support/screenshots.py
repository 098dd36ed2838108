"""Takes the pictures of the playground that the documentation shows: `python -m tests.support.screenshots`.

The service runs with the shipped packages; every picture is of a link, so that it comes out the same each time.
"""

import argparse
import io
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PIL import Image

from tests.support.browser import chromium
from tests.support.serving import ROOT, ServiceProcess

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

IMAGES: Final = ROOT / "docs/images"
COLOURS: Final = 128  # of a palette: a third of the bytes, and no difference that one sees
WIDE: Final = (1280, 800)
PHONE: Final = (390, 780)
VIEW: Final = "#model=mnist&seed=0"
KEPT: Final = "&kept=2~l5,5~l2,9~l1,17~l5,37~l2"


def wall(page: "Page") -> None:
    """Wait for a screen of samples."""
    page.wait_for_function("() => document.querySelectorAll('.tile img').length > 80")


def details(page: "Page") -> None:
    """Open what draws a kept sample again."""
    wall(page)
    page.locator("#tray .keepsake").nth(3).click()
    page.wait_for_function("() => /%/.test(document.querySelector('#details .facts').textContent)")


def walk(page: "Page") -> None:
    """Stop on the way from one kept sample to the next."""
    page.get_by_label("Position on the walk").fill("3.4")
    page.get_by_label("Position on the walk").blur()
    page.wait_for_selector(".film[data-frames='33']")


@dataclass(frozen=True)
class Scene:
    """One picture.

    Attributes:
        fragment: the link.
        act: brings the page to what is shown.
        scheme: its colours.
        size: of the window, in CSS pixels.
    """

    fragment: str
    act: Callable[["Page"], None]
    scheme: str = "light"
    size: tuple[int, int] = field(default=WIDE)


SCENES: Final = {
    "playground-wall-light": Scene(VIEW + KEPT, wall),
    "playground-wall-dark": Scene(VIEW + KEPT, wall, "dark"),
    "playground-details": Scene(VIEW + KEPT, details),
    "playground-walk": Scene(f"{VIEW}&view=walk{KEPT}", walk, "dark"),
    "playground-phone": Scene(VIEW + KEPT, wall, "light", PHONE),
}


def take(browser: "Browser", origin: str, scene: Scene) -> bytes:
    """Take one picture; returns its file."""
    width, height = scene.size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scene.scheme == "dark" else "light",
        reduced_motion="reduce",  # nothing moves while the picture is taken
    )
    page = context.new_page()
    page.goto(f"{origin}/{scene.fragment}")
    scene.act(page)
    page.evaluate("() => Promise.all([...document.images].map(image => image.decode()))")
    shown = Image.open(io.BytesIO(page.screenshot()))
    context.close()
    written = io.BytesIO()
    shown.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(written, "PNG", optimize=True)
    return written.getvalue()


def main() -> None:
    """Take all pictures, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *SCENES], help="pictures; all of them when left out")
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder for them")
    parser.add_argument("--port", type=int, default=8000, help="of the service, which the pictures show")
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as cache_dir,
        ServiceProcess(ROOT / "models", default_model="mnist", cache_dir=cache_dir, port=asked.port) as process,
        chromium() as browser,
    ):
        origin = f"http://localhost:{process.loaded().port}"
        for name in asked.names or SCENES:
            picture = take(browser, origin, SCENES[name])
            (asked.out / f"{name}.png").write_bytes(picture)
            sys.stdout.write(f"{name}.png: {len(picture):,} bytes\n")


if __name__ == "__main__":
    main()
