"""A folder of images, with everything below it; if asked, each folder in it is a class.

Images keep their size and mode if all agree; otherwise the configuration says what they become, and they are scaled
by Lanczos' filter until they cover the wanted size and cropped at the centre. Whether an image is held out depends on
its relative name alone, so adding images moves none from one side to the other.

References:
    Parmar, Zhang and Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation (2022), on the filter.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from training.data.image_data import Bytes, ImageData, Labels
from training.errors import DataError
from training.tables import Range

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MODES: Final = {1: "L", 3: "RGB", 4: "RGBA"}
CHANNELS: Final = {mode: channels for channels, mode in MODES.items()}
FEWEST = 64  # images: fewer do not fill one usual batch, and their held-out part measures nothing
HASH_RANGE = 1 << 64

Pixels = Annotated[int, Range(at_least=4)]


@dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """The `[data]` table of kind "folder".

    Attributes:
        path: the folder.
        image_size: height and width to bring every image to, or "as_is" where they all agree.
        channels: 1 grey, 3 colour, 4 colour and opacity, or "as_is" where they all agree.
        held_out_fraction: share of the images kept from training, to measure with.
        labels: "folders" takes the first folder of an image's relative name for its class; "none" knows no classes.
    """

    kind: ClassVar[str] = "folder"
    path: str
    image_size: tuple[Pixels, Pixels] | Literal["as_is"] = "as_is"
    channels: Literal[1, 3, 4, "as_is"] = "as_is"
    held_out_fraction: Annotated[float, Range(above=0, below=1)] = 0.1
    labels: Literal["none", "folders"] = "none"


def load(config: FolderConfig) -> ImageData:
    """Read all images of a folder.

    Args:
        config: which, and how.

    Returns:
        Images in the order of their relative names, with labels if asked for.

    Raises:
        DataError: if the folder is missing or has too few images, if an image is damaged, if images differ and the
            configuration does not say what to do, or if an image or a side of the split has no class.
    """
    root = Path(config.path).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    names = sorted(path.relative_to(root).as_posix() for path in _images_below(root))
    if len(names) < FEWEST:
        raise DataError(f"{root} has {len(names)} images ({', '.join(sorted(SUFFIXES))}) where {FEWEST} are the least")
    digest = hashlib.sha256()
    images: list[Bytes] = []
    for name in names:
        content = _content(root / name)
        digest.update(name.encode() + b"\0" + hashlib.sha256(content).digest())
        images.append(_decode(root / name, config))
        if images[-1].shape != images[0].shape:
            raise DataError(
                f"{root / name} is {_words(images[-1])} but {root / names[0]} is {_words(images[0])}; "
                "set image_size and channels in [data] to bring all to one shape"
            )
    held_out = np.array([_position(name) < config.held_out_fraction for name in names])
    if held_out.all() or not held_out.any():
        raise DataError(
            f"{root}: held_out_fraction {config.held_out_fraction} of {len(names)} images leaves one side empty"
        )
    pixels = np.stack(images)
    classes, labels = _classes(root, names, held_out) if config.labels == "folders" else (None, None)
    return ImageData(
        name=root.resolve().name,
        train=pixels[~held_out],
        held_out=pixels[held_out],
        train_labels=None if labels is None else labels[~held_out],
        held_out_labels=None if labels is None else labels[held_out],
        label_names=classes,
        sha256=digest.hexdigest(),
        attribution=f"images of the folder {root.resolve().name}",
    )


def _classes(root: Path, names: list[str], held_out: NDArray[np.bool_]) -> tuple[tuple[str, ...], Labels]:
    """The names of the classes in alphabetical order, and the class of every image."""
    loose = next((name for name in names if "/" not in name), None)
    if loose is not None:
        raise DataError(f'{root / loose} lies in no folder of a class, as [data] labels = "folders" wants it')
    of_images = [name.split("/", 1)[0] for name in names]
    classes = tuple(sorted(set(of_images)))
    if len(classes) == 1:
        raise DataError(f"{root} has one class, {classes[0]}; there is nothing to tell apart")
    labels = np.array([classes.index(name) for name in of_images], np.int64)
    for side, chosen in (("trained on", ~held_out), ("held out", held_out)):
        missing = sorted(set(range(len(classes))) - set(labels[chosen].tolist()))
        if missing:
            raise DataError(f"{root}: no image of {classes[missing[0]]} is {side}; it needs more images")
    return classes, labels


def _images_below(root: Path) -> Iterator[Path]:
    return (path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def _decode(path: Path, config: FolderConfig) -> Bytes:
    """One image as [C, H, W]."""
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{path} is not a readable image: {error}") from error
    if config.channels != "as_is":
        image = image.convert(MODES[config.channels])
    elif image.mode not in CHANNELS:
        raise DataError(f"{path} has the mode {image.mode}; set channels in [data] to 1, 3 or 4 to convert it")
    if config.image_size != "as_is":
        height, width = config.image_size
        image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image, dtype=np.uint8)
    return np.atleast_3d(pixels).transpose(2, 0, 1)


def _position(name: str) -> float:
    """Where a name falls in [0, 1), evenly and for ever."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") / HASH_RANGE


def _words(image: Bytes) -> str:
    channels, height, width = image.shape
    return f"{width}x{height} {MODES[channels]}"
