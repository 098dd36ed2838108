"""A folder of images, with everything below it; if asked, each folder in it is a class.

    folder ─▶ listing ─▶ held out or trained on ─▶ headers ─▶ size and channels ─▶ pixels, hash, notes

Images keep their size and their grey or colour if all agree; otherwise the configuration says what they become, and
they are scaled by Lanczos' filter until they cover the wanted size and cropped at the centre. Folders called train and
test (or val) are the split. Without them, whether an image is held out depends on its relative name alone, so adding
images moves none to the other side. The data's notes say what is left out or converted; files that cannot be read are
refused, all in one message.

References:
    Parmar, Zhang and Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation (2022), on the filter.
"""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal

import numpy as np

from training.data.image_data import FEWEST_HELD_OUT, Bytes, ImageData, Labels
from training.data.image_folder import image_files
from training.data.image_folder.image_files import COLOUR, GREY, Background, Header, Step, TargetFormat, UnreadableError
from training.data.image_folder.listing import MOST_NAMED, Listing, is_text, named, shown, walk
from training.data.image_folder.split import AUTO, Split, classes_of, position, split_of
from training.errors import DataError
from training.progress import progress
from training.tables import Range

FEWEST = 64  # images: fewer do not fill a usual batch, and the held-out part would be too small
# Mixed into the hash of a folder that versions before 0.7 read otherwise: they clipped 16-bit grey, dropped
# transparency, knew no split by folders and sorted numbers as text.
READ_ANEW: Final = b"read anew: split, numbers as classes, 16-bit grey, transparency"
MOST_SIZES = 4  # named where sizes differ
# Candidates for images of several sizes: powers of two halve without a remainder; larger ones are slow without a GPU.
SIDES: Final = (8, 16, 32)
LARGEST_KEPT = 64  # pixels a side of images that all agree, and then stay as they are
FRACTION_STEP = 0.05  # of a suggested share
LARGEST_FRACTION = 0.5  # that is suggested
COPIES_IN_MEMORY = 2  # of all images: as they are read, and the two sides of the split
GIGABYTE: Final = 10**9

Pixels = Annotated[int, Range(at_least=4)]


@dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """The `[data]` table of kind "folder".

    Attributes:
        path: the folder.
        image_size: height and width to bring every image to, or "as_is" where they all agree.
        channels: 1 grey, 3 colour, or "as_is" where they all agree.
        background: what transparent images are laid on.
        held_out: which images are kept from training, to measure with: "auto" takes the folders test and val, if there
            is a folder train beside them, else a fraction; "fraction" takes no folder for a split; any other name is
            the folder of those held out.
        held_out_fraction: share of the images kept from training where no folder decides.
        labels: "folders" takes the first folder of an image's relative name (below train and test, where they are the
            split) for its class; "none" knows no classes.
    """

    kind: ClassVar[str] = "folder"
    path: str
    image_size: tuple[Pixels, Pixels] | Literal["as_is"] = "as_is"
    channels: Literal[1, 3, "as_is"] = "as_is"
    background: Background = "white"
    held_out: str = AUTO
    held_out_fraction: Annotated[float, Range(above=0, below=1)] = 0.1
    labels: Literal["none", "folders"] = "none"


@dataclass(frozen=True)
class _Read:
    """The images of a folder, decoded.

    Attributes:
        pixels: [N, C, H, W].
        digest: of names and contents.
        steps: number of images for each step.
        brightest: of the values of 16-bit images.
        copies: how many images have the content of an earlier one.
    """

    pixels: Bytes
    digest: "hashlib._Hash"
    steps: Counter[Step]
    brightest: int
    copies: int


def load(config: FolderConfig) -> ImageData:
    """Read all images of a folder.

    Returns:
        Images in the order of their relative names, with labels if asked for.

    Raises:
        DataError: if the folder is missing or has too few images, if images are damaged, if they differ and the
            configuration does not say what to do, or if an image or a side of the split has no class.
    """
    root, listing = _listing(config.path)
    where = shown(str(root))
    if len(listing.names) < FEWEST:
        raise DataError(f"{where} has {len(listing.names)} images where {FEWEST} are the least; {listing.formats}")
    split = split_of(where, listing.names, config.held_out, config.held_out_fraction)
    if split.held_out.all() or not split.held_out.any():
        raise DataError(
            f"{where}: held_out_fraction {config.held_out_fraction} of {len(listing.names)} images leaves one side "
            "empty"
        )
    classes, labels = classes_of(where, listing, split) if config.labels == "folders" else (None, None)
    headers, unreadable = _headers(root, listing.names)
    if not headers:
        raise DataError(_refusal(where, listing, unreadable))
    wanted = _wanted(where, config, list(headers.values()))
    _check_memory(where, len(listing.names), wanted)
    read = _read(root, listing, wanted, unreadable)
    if split.parts or read.steps.keys() & {Step.DEEP, Step.TRANSPARENT} or list(classes or ()) != sorted(classes or ()):
        read.digest.update(READ_ANEW)
    name = shown(root.resolve().name) or "images"
    return ImageData(
        name=name,
        train=read.pixels[~split.held_out],
        held_out=read.pixels[split.held_out],
        train_labels=None if labels is None else labels[~split.held_out],
        held_out_labels=None if labels is None else labels[split.held_out],
        label_names=classes,
        sha256=read.digest.hexdigest(),
        attribution=f"images of the folder {name}",
        notes=(
            f"images: {_counts(Counter(Path(name).suffix.lower() for name in listing.names))}",
            _told_classes(split, classes, labels),
            f"held out: {split.told}",
            *([f"left out: {listing.left_out}"] if listing.left_out else []),
            *_told_steps(read, config),
            _told_sizes(list(headers.values()), wanted),
            *([f"copies: {read.copies:,} images have the same bytes as another one"] if read.copies else []),
        ),
    )


def suggested(path: str) -> FolderConfig:
    """Choose how to read a folder without a configuration.

    Returns:
        Grey only if every image is; a size that most images fill; the smallest share held out that a package can be
        calibrated on.

    Raises:
        DataError: if the folder is missing or has too few images that can be read.
    """
    root, listing = _listing(path)
    headers, unreadable = _headers(root, listing.names)
    if not headers:
        raise DataError(_refusal(shown(str(root)), listing, unreadable))
    positions = sorted(position(name) for name in listing.names)
    enough = positions[min(FEWEST_HELD_OUT, len(positions)) - 1]
    fraction = max(FolderConfig.held_out_fraction, (math.floor(enough / FRACTION_STEP) + 1) * FRACTION_STEP)
    return FolderConfig(
        path=path,
        image_size=_suggested_size(list(headers.values())),
        channels=3 if any(header.channels == COLOUR for header in headers.values()) else 1,
        held_out_fraction=min(round(fraction, 2), LARGEST_FRACTION),
    )


def _listing(path: str) -> tuple[Path, Listing]:
    if not path:
        raise DataError("[data] path is empty; name the folder of the images, there or with --data-path FOLDER")
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(f"there is no folder {shown(str(root))}")
    if not is_text(path):
        raise DataError(f"the path {shown(path)} is not UTF-8, which a configuration is written in; rename the folder")
    return root, walk(root)


def _headers(root: Path, names: Sequence[str]) -> tuple[dict[str, Header], dict[str, str]]:
    """Headers of the images by name, and why the others cannot be read."""
    headers, unreadable = {}, {}
    for name in progress(names, "looking at images", len(names), "image"):
        try:
            headers[name] = image_files.read_header(root / name)
        except UnreadableError as error:
            unreadable[name] = str(error)
    return headers, unreadable


def _wanted(where: str, config: FolderConfig, headers: list[Header]) -> TargetFormat:
    """The format of all images; refused where they differ and the configuration does not decide."""
    of_channels, of_sizes = Counter(header.channels for header in headers), Counter(header.size for header in headers)
    differences = []
    if config.channels == "as_is" and len(of_channels) > 1:
        differences.append(
            f"has {of_channels[GREY]:,} grey images and {of_channels[COLOUR]:,} in colour: set channels = 3 or 1"
        )
    if config.image_size == "as_is" and len(of_sizes) > 1:
        most = ", ".join(f"{count:,} of {_size(size)}" for size, count in of_sizes.most_common(MOST_SIZES))
        rest = f" and {len(of_sizes) - MOST_SIZES:,} more sizes" if len(of_sizes) > MOST_SIZES else ""
        height, width = _suggested_size(headers)
        differences.append(f"has images of {most}{rest} (width x height): set image_size = [{height}, {width}], say,")
    if differences:
        raise DataError(f"{where} {' and '.join(differences)} in [data] to bring all to one shape")
    return TargetFormat(
        channels=next(iter(of_channels)) if config.channels == "as_is" else config.channels,
        size=next(iter(of_sizes)) if config.image_size == "as_is" else config.image_size,
        background=config.background,
    )


def _check_memory(where: str, count: int, wanted: TargetFormat) -> None:
    """Refuse images that do not fit into memory, before reading them."""
    needed = COPIES_IN_MEMORY * count * wanted.channels * math.prod(wanted.size)
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise DataError(
            f"{where}: {count:,} images of {_size(wanted.size)} take {needed / GIGABYTE:,.1f} GB of memory to read, "
            f"and this machine has {there / GIGABYTE:,.1f}; set a smaller image_size in [data]"
        )


def _read(root: Path, listing: Listing, wanted: TargetFormat, unreadable: dict[str, str]) -> _Read:
    """Decode all images; one error names all that cannot be decoded."""
    names, failed = listing.names, dict(unreadable)
    pixels = np.empty((len(names), wanted.channels, *wanted.size), np.uint8)
    digest, steps, brightest, contents = hashlib.sha256(), Counter[Step](), 0, set()
    for row, name in enumerate(progress(names, "reading images", len(names), "image")):
        if name in unreadable:
            continue
        try:
            content = (root / name).read_bytes()
            decoded = image_files.decode(content, wanted)
        except OSError as error:
            failed[name] = f"cannot be read: {error.strerror}"
            continue
        except UnreadableError as error:
            failed[name] = str(error)
            continue
        pixels[row] = decoded.pixels
        steps.update(decoded.steps)
        brightest = max(brightest, decoded.brightest)
        of_content = hashlib.sha256(content).digest()
        digest.update(os.fsencode(name) + b"\0" + of_content)
        contents.add(of_content)
    if failed:
        raise DataError(_refusal(shown(str(root)), listing, failed))
    return _Read(pixels, digest, steps, brightest, len(names) - len(contents))


def _refusal(where: str, listing: Listing, unreadable: dict[str, str]) -> str:
    if not unreadable:
        return f"{where} has no images; {listing.formats}"
    told = [f"{shown(name)} {reason}" for name, reason in sorted(unreadable.items())[:MOST_NAMED]]
    rest = f", and {len(unreadable) - MOST_NAMED:,} more" if len(unreadable) > MOST_NAMED else ""
    return f"{where}: {len(unreadable):,} of {len(listing.names):,} images cannot be taken: {', '.join(told)}{rest}"


def _told_classes(split: Split, classes: tuple[str, ...] | None, labels: Labels | None) -> str:
    if classes is not None and labels is not None:
        counts = np.bincount(labels, minlength=len(classes))
        return f"classes: {named([f'{name} {count:,}' for name, count in zip(classes, counts, strict=True)])}"
    folders = Counter(name.split("/", 1)[0] for name in split.below if "/" in name)
    if len(folders) > 1 and folders.total() == len(split.below):
        found = named([f"{name} {count:,}" for name, count in sorted(folders.items())])
        return f'classes: none; [data] labels = "folders" would take the folders for classes: {found}'
    return "classes: none"


def _told_steps(read: _Read, config: FolderConfig) -> Iterator[str]:
    for step in Step:
        if read.steps[step]:
            more = {
                Step.DEEP: f" (the brightest value is {read.brightest:,} of 65,535)",
                Step.TRANSPARENT: f' ([data] background = "{config.background}")',
            }.get(step, "")
            yield f"converted: {read.steps[step]:,} {step}{more}"


def _told_sizes(headers: list[Header], wanted: TargetFormat) -> str:
    height, width = wanted.size
    told = f"size: {_size(wanted.size)}, {'grey' if wanted.channels == GREY else 'colour'}"
    changed = [header.size for header in headers if header.size != wanted.size]
    if not changed:
        return f"{told}, as they are"
    smaller = sum(size[0] < height or size[1] < width for size in changed)
    smallest, largest = min(changed, key=math.prod), max(changed, key=math.prod)
    return (
        f"{told}; {len(changed):,} of {_size(smallest)} to {_size(largest)} are scaled until they cover it and cropped "
        "at the centre" + (f"; {smaller:,} of them are smaller and are enlarged" if smaller else "")
    )


def _suggested_size(headers: list[Header]) -> tuple[int, int]:
    """The common size, if there is one and it is small enough; else a square that half of the images fill."""
    sizes = {header.size for header in headers}
    if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_KEPT and min(next(iter(sizes))) >= SIDES[0]:
        return next(iter(sizes))
    shorter = sorted(min(header.size) for header in headers)[len(headers) // 2]
    side = max((side for side in SIDES if side <= shorter), default=SIDES[0])
    return side, side


def _counts(counts: Counter[str]) -> str:
    return ", ".join(f"{count:,} {word}" for word, count in counts.most_common())


def _size(size: tuple[int, int]) -> str:
    height, width = size
    return f"{width}x{height}"
