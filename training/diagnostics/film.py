"""A film of a run: the same latents through the averaged generator, from the first steps to the last.

RUN/frames/000000064000.png    while it trains: small pictures, closer together at the start, where most changes
RUN/film.gif                   made from them with the report; of a run that has none, from its grids
"""

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw

from training.files import write_atomically

END: Final = b"IEND\xaeB`\x82"  # of every PNG
FOLDER: Final = "frames"
GRIDS: Final = "grids"
FILE_NAME: Final = "film.gif"
FRAMES: Final = 48  # five seconds
FRAME_SIDE: Final = 400  # pixels, the most of either side
SMALLEST_SIDE: Final = 140  # pixels, below which frames are left out instead
NARROWEST: Final = 280  # pixels: room for the time under the picture
STRIP: Final = 18  # pixels under the picture
MOST_BYTES: Final = 2 << 20  # the report embeds the film
FRAME_MS: Final = 100
LAST_MS: Final = 2_500
COLOURS: Final = 256
PAPER: Final = (255, 255, 255)
INK: Final = (30, 80, 160)
TRACK: Final = (215, 219, 225)


def is_due(samples_before: int, samples_seen: int, total_samples: int) -> bool:
    """Whether a step reached the time of a frame: the k-th of n is due at (k / n)² of the run."""

    def number(samples: int) -> int:
        return math.isqrt(FRAMES**2 * samples // total_samples)

    return number(samples_seen) > number(samples_before)


def keep(run: Path, name: str, drawn: Image.Image) -> None:
    """Keep a frame, reduced to `FRAME_SIDE`.

    Args:
        name: of the file without its ending, the training time with leading zeros.
        drawn: of the fixed latents.
    """
    (run / FOLDER).mkdir(exist_ok=True)
    content = io.BytesIO()
    reduced(drawn, FRAME_SIDE).save(content, format="png")
    write_atomically(run / FOLDER / f"{name}.png", content.getvalue())


def write(run: Path) -> Path | None:
    """Make the film of a run from what it has kept.

    Returns:
        The file; None where there are less than two frames.

    Raises:
        OSError: as from the system.
    """
    kept = frames(run)
    if len(kept) <= 1:
        return None
    path = run / FILE_NAME
    write_atomically(path, film(kept))
    return path


def frames(run: Path) -> list[Path]:
    """Find the frames of a run in order; grids stand in for those of a time before frames were kept."""
    kept, grids = (pictures(run / folder) for folder in (FOLDER, GRIDS))
    return [path for path in grids if not kept or path.stem < kept[0].stem] + kept


def pictures(folder: Path) -> list[Path]:
    """Files that are named by a time and are whole: a grid may have been cut off with its process."""
    return [path for path in sorted(folder.glob("*.png")) if path.stem.isdecimal() and path.read_bytes().endswith(END)]


def film(paths: Sequence[Path]) -> bytes:
    """Make a film of frames.

    Args:
        paths: at least one PNG, named by its training time.

    Returns:
        GIF of `MOST_BYTES` at most: a longer one is made of smaller frames, at last of fewer.
    """
    chosen, side = list(paths), FRAME_SIDE
    while True:
        content = _encode(chosen, side, int(paths[-1].stem))
        if len(content) <= MOST_BYTES or len(chosen) == 1:
            return content
        if side > SMALLEST_SIDE:
            side = int(side * min(3 / 4, math.sqrt(MOST_BYTES / len(content))))
        else:
            chosen = chosen[(len(chosen) - 1) % 2 :: 2]  # with the last one


def _encode(paths: Sequence[Path], side: int, total: int) -> bytes:
    shots = [_shot(path, side, total) for path in paths]
    palette = _palette(shots)
    indexed = [shot.quantize(palette=palette, dither=Image.Dither.NONE) for shot in shots]
    content = io.BytesIO()
    indexed[0].save(
        content,
        format="gif",
        save_all=True,
        append_images=indexed[1:],
        duration=[FRAME_MS] * (len(indexed) - 1) + [LAST_MS],
        loop=0,
        optimize=False,
    )
    return content.getvalue()


def _shot(path: Path, side: int, total: int) -> Image.Image:
    """A frame with its time: a number, and a line as long as the part of the run that is over."""
    with Image.open(path) as opened:
        picture = _on_paper(reduced(opened, side))
    if picture.width < NARROWEST:
        zoom = max(1, NARROWEST // picture.width)
        picture = picture.resize((picture.width * zoom, picture.height * zoom), Image.Resampling.NEAREST)
    width, height = picture.size
    shot = Image.new("RGB", (width, height + STRIP), PAPER)
    shot.paste(picture, (0, 0))
    pen, samples = ImageDraw.Draw(shot), int(path.stem)
    pen.rectangle((0, height, width, height + 2), fill=TRACK)
    pen.rectangle((0, height, round(width * samples / max(total, 1)), height + 2), fill=INK)
    pen.text((2, height + 4), f"sample {samples:,}", fill=INK)
    return shot


def _palette(shots: Sequence[Image.Image]) -> Image.Image:
    """Colours of the first, the middle and the last frame."""
    some = [shots[0], shots[len(shots) // 2], shots[-1]]
    strip = Image.new("RGB", (sum(shot.width for shot in some), max(shot.height for shot in some)), PAPER)
    across = 0
    for shot in some:
        strip.paste(shot, (across, 0))
        across += shot.width
    return strip.quantize(COLOURS)


def _on_paper(picture: Image.Image) -> Image.Image:
    if picture.mode != "RGBA":
        return picture.convert("RGB")
    paper = Image.new("RGBA", picture.size, PAPER)
    return Image.alpha_composite(paper, picture).convert("RGB")


def reduced(picture: Image.Image, side: int) -> Image.Image:
    """A picture, divided by a whole number so that neither side is longer."""
    factor = math.ceil(max(picture.size) / side)
    return picture.reduce(factor) if factor > 1 else picture.copy()
