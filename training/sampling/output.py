"""Writes samples as the ending of the file asks: a sheet of pictures, a plot, arrays, a table, or a folder of pictures.

    .png      images: the sheet that the service answers; vectors of one or two numbers: a plot over real ones
    .npy      the samples, in the form that the service answers
    .npz      the same with their seeds and the generator's inputs
    .csv      vectors and items: a line a sample
    a folder  images: one file each, named by its seed

Shapes: N samples, H W height and width, C channels, D numbers of a vector.
"""

import csv
import io
import math
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from training.errors import TrainingError
from training.evaluation.pictures import MODES, picture
from training.export.graphs.interface import CODE
from training.files import write_atomically
from training.sampling.sample import Drawn
from training.sampling.source import Kind

ENDINGS: Final[dict[Kind, tuple[str, ...]]] = {
    "image": (".png", ".npy", ".npz", ""),
    "vector": (".png", ".npy", ".npz", ".csv"),
    "item": (".npy", ".npz", ".csv"),
}
WORDS: Final[dict[Kind, str]] = {
    "image": "a .png sheet, a .npy or .npz array, or a folder",
    "vector": "a .png plot, a .npy or .npz array, or a .csv table",
    "item": "a .npy or .npz array, or a .csv table",
}
MOST_PIXELS: Final = 16_777_216  # of a sheet, as of the service's
PLOTTED: Final = (1, 2)  # numbers of a vector that can be plotted


def write(drawn: Drawn, out: Path, columns: int | None) -> int:
    """Write samples to a file or a folder.

    Args:
        columns: of a sheet; None makes it as square as it can be.

    Returns:
        Number of files written.

    Raises:
        TrainingError: if such samples cannot be written so, or the disk refuses.
    """
    ending = out.suffix.lower()
    try:
        if not ending or out.is_dir():
            return _folder(drawn, out)
        content = _content(drawn, ending, columns)
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, content)
    except OSError as error:
        raise TrainingError(f"cannot write {out}: {error.strerror}") from error
    return 1


def check(kind: Kind, out: Path | None, columns: int | None) -> None:
    """Refuse a place that samples of a kind cannot be written to, before they are computed.

    Raises:
        TrainingError: with where they can be written.
    """
    endings = ENDINGS[kind]
    ending = None if out is None else "" if out.is_dir() else out.suffix.lower()
    if out is None and kind == "image":
        raise TrainingError(f"images need a place: --out with {WORDS[kind]}")
    if ending is not None and ending not in endings:
        raise TrainingError(f"{out}: {kind}s are written to {WORDS[kind]}")
    if columns is not None and (columns < 1 or kind != "image" or ending != ".png"):
        raise TrainingError("--columns is the width of a sheet of images, 1 or more, and needs --out FILE.png")


def rows(drawn: Drawn) -> list[dict[str, object]]:
    """Each sample as a line of a table: its seed, what it was told, and what it is (of an image, nothing)."""
    told = {name: values.tolist() for name, values in drawn.inputs.items() if values.dtype == np.int64}
    told = {drawn.condition_name if name == "condition" else name: values for name, values in told.items()}
    told |= {name: values.tolist() for name, values in drawn.codes.items()}
    found: list[dict[str, object]] = []
    for place, seed in enumerate(drawn.seeds):
        row: dict[str, object] = {"seed": seed, **{name: values[place] for name, values in told.items()}}
        if drawn.kind == "item":
            row["item"] = int(drawn.samples[place])
        if drawn.kind == "vector":
            row |= {f"x{number}": float(value) for number, value in enumerate(drawn.samples[place])}
        found.append(row)
    return found


def table(drawn: Drawn) -> str:
    """The rows as CSV."""
    text, found = io.StringIO(), rows(drawn)
    writer = csv.DictWriter(text, found[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return text.getvalue()


def sheet(pixels: NDArray[np.uint8], columns: int | None = None) -> Image.Image:
    """Arrange images in rows, as the service does.

    Args:
        pixels: [N, H, W, C].
        columns: None takes the square root of N, rounded up.

    Returns:
        One image; cells after the last sample are black.
    """
    count, height, width, channels = pixels.shape
    across = min(columns or math.isqrt(count - 1) + 1, count)
    down = -(-count // across)
    if down * height * across * width > MOST_PIXELS:
        raise TrainingError(
            f"{count:,} images make a sheet of more than {MOST_PIXELS:,} pixels; use a .npy or a folder"
        )
    cells = np.zeros((down * across, height, width, channels), np.uint8)
    cells[:count] = pixels
    laid_out = cells.reshape(down, across, height, width, channels).transpose(0, 2, 1, 3, 4)
    return _image(laid_out.reshape(down * height, across * width, channels))


def _folder(drawn: Drawn, out: Path) -> int:
    out.mkdir(parents=True, exist_ok=True)
    for seed, pixels in zip(drawn.seeds, drawn.samples, strict=True):
        write_atomically(out / f"{seed}.png", _png(_image(pixels.astype(np.uint8, copy=False))))
    return len(set(drawn.seeds))


def _content(drawn: Drawn, ending: str, columns: int | None) -> bytes:
    if ending == ".csv":
        return table(drawn).encode()
    if ending == ".png":
        if drawn.kind == "image":
            return _png(sheet(drawn.samples.astype(np.uint8, copy=False), columns))
        return _png(_plot(drawn))
    content = io.BytesIO()
    if ending == ".npy":
        np.save(content, drawn.samples, allow_pickle=False)
    else:
        # The code tensor is one-hot; the codes by name say the same.
        inputs = {name: values for name, values in drawn.inputs.items() if name != CODE}
        codes = {f"code_{name}": values for name, values in drawn.codes.items()}
        seeds = np.array(drawn.seeds, np.int64)
        np.savez(content, allow_pickle=False, seed=seeds, **inputs, **codes, sample=drawn.samples)
    return content.getvalue()


def _plot(drawn: Drawn) -> Image.Image:
    numbers = drawn.samples.shape[1]
    if numbers not in PLOTTED:
        raise TrainingError(f"vectors of {numbers} numbers have no plot; use a .npy, .npz or .csv")
    shown = torch.from_numpy(drawn.samples.astype(np.float32, copy=False))
    plot = picture(shown, drawn.samples if drawn.real is None else drawn.real)
    if plot is None:
        raise TrainingError(f"vectors of {numbers} numbers have no plot; use a .npy, .npz or .csv")
    return plot


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, MODES[pixels.shape[2]])


def _png(image: Image.Image) -> bytes:
    content = io.BytesIO()
    image.save(content, format="png")
    return content.getvalue()
