"""Writes images as a folder of PNG files that `folder` reads back: the split by folders, and below it the classes.

    FOLDER/train/red-circle/00042.png        the 43rd image that is trained on
    FOLDER/test/blue-star/00007.png          the eighth that is held out

The folder appears under its name when it is complete, wherever the process stops.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from training.data.image_data import Bytes, ImageData, Labels
from training.data.image_folder.image_files import GREY
from training.errors import DataError
from training.progress import progress

TRAIN, HELD_OUT = "train", "test"  # folders that `split` knows
FEWEST_DIGITS: Final = 5  # of a file's name, so that names sort as their numbers

File = tuple[Path, Bytes]


def write(images: ImageData, where: Path) -> None:
    """Write both parts of a data set.

    Args:
        images: grey or in colour.
        where: folder to make; one that is there must be empty.

    Raises:
        DataError: if it is not, or cannot be written; then nothing is left behind.
    """
    temporary = where.absolute().with_name(f".{where.absolute().name}.{os.getpid()}.part")
    try:
        if where.is_dir() and any(where.iterdir()):
            raise DataError(f"{where} is not empty; choose a folder that is not there yet")
        temporary.mkdir(parents=True)
        files = [*_files(images, TRAIN), *_files(images, HELD_OUT)]
        for folder in {name.parent for name, _ in files}:
            (temporary / folder).mkdir(parents=True)
        for name, pixels in progress(files, f"writing {images.name}", len(files), "image"):
            grey = len(pixels) == GREY
            Image.fromarray(pixels[0] if grey else np.moveaxis(pixels, 0, -1)).save(temporary / name)
        temporary.replace(where)
    except OSError as error:
        raise DataError(f"cannot write {where}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _files(images: ImageData, part: str) -> Iterator[File]:
    """Names below the folder, and pixels [C, H, W]."""
    pixels, labels = (images.train, images.train_labels) if part == TRAIN else (images.held_out, images.held_out_labels)
    digits = max(FEWEST_DIGITS, len(str(len(pixels) - 1)))
    for number, (image, folder) in enumerate(zip(pixels, _folders(images, labels, len(pixels)), strict=True)):
        yield Path(part, folder, f"{number:0{digits}d}.png"), image


def _folders(images: ImageData, labels: Labels | None, count: int) -> list[str]:
    """The class of each image, or nothing where there are none."""
    if labels is None or images.label_names is None:
        return [""] * count
    return [images.label_names[label] for label in labels]
