"""Takes the pictures of the playground that the documentation shows: `python -m tests.support.screenshots`.

The service runs with the shipped packages. Every picture is of a link or of the same drawing, so that it comes out the
same each time.
"""

import argparse
import io
import shutil
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
THREE: Final = (
    (0.36, 0.28), (0.45, 0.22), (0.56, 0.22), (0.63, 0.30), (0.60, 0.40), (0.50, 0.46),
    (0.60, 0.52), (0.65, 0.62), (0.60, 0.73), (0.48, 0.78), (0.36, 0.72),
)  # fmt: skip
KEPT: Final = "&kept=2~l5,5~l2,9~l1,17~l5,37~l2"


def wall(page: "Page") -> None:
    """Wait for samples of all of the screen, and of as much below it as is fetched ahead."""
    page.wait_for_selector(".tile")
    page.wait_for_load_state("networkidle")


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


def score(page: "Page") -> None:
    """Draw a three."""
    page.wait_for_selector(".paper[data-ground]")
    box = page.locator(".paper").bounding_box()
    assert box is not None
    for index, (x, y) in enumerate(THREE):
        page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"], steps=8)
        if index == 0:
            page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(".score-results[data-state='shown'][aria-busy='false']")


def vectors(page: "Page") -> None:
    """Wait for the fine field."""
    page.wait_for_selector(".plot[data-field='64']")


def items(page: "Page") -> None:
    """Wait for the items' scores."""
    page.wait_for_selector(".cell.real")


def select(page: "Page") -> None:
    """Wait for both sides."""
    page.wait_for_selector(".select-side:last-child .select-tile img")


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
    "playground-score": Scene(f"{VIEW}&view=score", score),
    "playground-vectors": Scene("#model=ring&view=vectors&seed=0", vectors),
    "playground-items": Scene("#model=planted-items&view=items&seed=0&condition=7", items, "dark"),
    "playground-select": Scene(f"{VIEW}&view=select", select),
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
    names = asked.names or list(SCENES)
    with tempfile.TemporaryDirectory() as folder:
        models_dir = Path(folder) / "models"
        shutil.copytree(ROOT / "models", models_dir)
        take_all(models_dir, names, asked.out, asked.port)


def take_all(models_dir: Path, names: list[str], out: Path, port: int) -> None:
    """Serve packages, and take pictures of them."""
    with ServiceProcess(models_dir, default_model="mnist", port=port) as process, chromium() as browser:
        origin = f"http://localhost:{process.loaded().port}"
        for name in names:
            picture = take(browser, origin, SCENES[name])
            (out / f"{name}.png").write_bytes(picture)
            sys.stdout.write(f"{name}.png: {len(picture):,} bytes\n")


if __name__ == "__main__":
    main()
