"""Images of a folder with everything below it, or of archives; if asked, each folder in it is a class.

    path ─▶ listing ─▶ held out or trained on ─▶ headers ─▶ size and channels ─▶ pixels, hash, notes

Images keep their size and their grey or colour if all agree; otherwise the configuration says what they become, and
they are scaled by Lanczos' filter until they cover the wanted size and cropped at the centre. Folders called train and
test (or val) are the split. Without them, whether an image is held out depends on its relative name alone, so adding
images moves none to the other side. The data's notes say what is left out or converted; files that cannot be read are
refused, all in one message.

References:
    Parmar, Zhang and Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation (2022), on the filter.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Final, Literal

import numpy as np

from training.data.image_data import FEWEST_HELD_OUT, ImageData, Labels
from training.data.image_folder import decoded, notes, sidecars, sources
from training.data.image_folder.decoded import KEEP_FROM, Decoded
from training.data.image_folder.image_files import COLOUR, GREY, Background, Header, Step, TargetFormat
from training.data.image_folder.sources import Source
from training.data.image_folder.split import AUTO, Split, classes_of_folders, numbered, position, split_of
from training.errors import DataError
from training.tables import Range

FEWEST = 64  # images: fewer do not fill a usual batch, and the held-out part would be too small
MOST_SIZES = 4  # named where sizes differ
# Candidates for images of several sizes: powers of two halve without a remainder; larger ones are slow without a GPU.
SIDES: Final = (8, 16, 32)
LARGEST_KEPT = 64  # pixels a side of images that all agree, and then stay as they are
FRACTION_STEP = 0.05  # of a suggested share
LARGEST_FRACTION = 0.5  # that is suggested

Pixels = Annotated[int, Range(at_least=4)]


@dataclass(frozen=True, kw_only=True)
class FolderConfig:
    """The `[data]` table of kind "folder".

    Attributes:
        path: the folder; or a ZIP or tar archive, several as `shards/{000..009}.tar` or `shards/*.tar`.
        image_size: height and width to bring every image to, or "as_is" where they all agree.
        channels: 1 grey, 3 colour, or "as_is" where they all agree.
        background: what transparent images are laid on.
        held_out: which images are kept from training, to measure with: "auto" takes the folders test and val, if there
            is a folder train beside them, else a fraction; "fraction" takes no folder for a split; any other name is
            the folder of those held out.
        held_out_fraction: share of the images kept from training where no folder decides.
        labels: "folders" takes the first folder of an image's relative name (below train and test, where they are the
            split) for its class; "sidecars" a file beside each image, .cls or .json; "none" knows no classes.
    """

    kind: ClassVar[str] = "folder"
    path: str
    image_size: tuple[Pixels, Pixels] | Literal["as_is"] = "as_is"
    channels: Literal[1, 3, "as_is"] = "as_is"
    background: Background = "white"
    held_out: str = AUTO
    held_out_fraction: Annotated[float, Range(above=0, below=1)] = 0.1
    labels: Literal["none", "folders", "sidecars"] = "none"


def load(config: FolderConfig, keep_from: int = KEEP_FROM) -> ImageData:
    """Read all images of a folder or archive.

    Args:
        keep_from: bytes of files from which on they are decoded by worker processes and kept in the cache.

    Returns:
        Images in the order of their relative names, with labels if asked for.

    Raises:
        DataError: if the folder is missing or has too few images, if images are damaged, if they differ and the
            configuration does not say what to do, or if an image or a side of the split has no class.
    """
    source = sources.find(config.path)
    where, names = source.where, source.listing.names
    if len(names) < FEWEST:
        raise DataError(f"{where} has {len(names)} images where {FEWEST} are the least; {source.listing.formats}")
    split = split_of(where, names, config.held_out, config.held_out_fraction)
    if split.held_out.all() or not split.held_out.any():
        raise DataError(
            f"{where}: held_out_fraction {config.held_out_fraction} of {len(names)} images leaves one side empty"
        )
    classes, labels, source = _labelled(config, source, split)
    headers, unreadable = decoded.headers(source, keep_from)
    if not headers:
        raise notes.refusal(where, source.listing, unreadable)
    wanted = _wanted(where, config, headers)
    order = np.concatenate([np.flatnonzero(~split.held_out), np.flatnonzero(split.held_out)])
    images = decoded.images(source, wanted, order, keep_from)
    trained_on = int((~split.held_out).sum())
    ordered = None if labels is None else labels[order]
    return ImageData(
        name=source.name,
        train=images.pixels[:trained_on],
        held_out=images.pixels[trained_on:],
        train_labels=None if ordered is None else ordered[:trained_on],
        held_out_labels=None if ordered is None else ordered[trained_on:],
        label_names=classes,
        sha256=_identity(config, images, split, classes, labels),
        attribution=f"images of the {source.kind} {source.name}",
        notes=(
            notes.formats(source.listing),
            notes.classes(split, classes, labels),
            f"held out: {split.told}",
            *([f"left out: {source.listing.left_out}"] if source.listing.left_out else []),
            *([notes.CACHE + images.kept] if images.kept else []),
            *notes.steps(images.steps, images.brightest, config.background),
            notes.sizes(headers, wanted),
            *([f"copies: {images.copies:,} images have the same bytes as another one"] if images.copies else []),
        ),
        fingerprints=images.fingerprints,
    )


def _labelled(
    config: FolderConfig, source: Source, split: Split
) -> tuple[tuple[str, ...] | None, Labels | None, Source]:
    """Names of the classes, [N] their numbers, and the source without the files that these were read from."""
    listing = source.listing
    match config.labels:
        case "folders":
            return *classes_of_folders(source.where, listing, split), source
        case "sidecars":
            found = sidecars.find(listing)
            of_images = sidecars.classes(source.where, listing.names, source.places, found)
            others = tuple(name for name in listing.others if not name.lower().endswith(sidecars.SUFFIXES))
            return *numbered(source.where, of_images, split), replace(source, listing=replace(listing, others=others))
        case "none":
            return None, None, source


def _identity(
    config: FolderConfig, images: Decoded, split: Split, classes: tuple[str, ...] | None, labels: Labels | None
) -> str:
    """SHA-256 of the data: of names and contents, and of labels that do not follow from names."""
    if config.labels == "sidecars" and classes is not None and labels is not None:
        text = json.dumps([images.sha256_read_anew, classes, labels.tolist()])
        return hashlib.sha256(text.encode()).hexdigest()
    deep = images.steps.keys() & {Step.DEEP, Step.TRANSPARENT}
    anew = split.parts or deep or list(classes or ()) != sorted(classes or ())
    return images.sha256_read_anew if anew else images.sha256


def suggested(path: str) -> FolderConfig:
    """Choose how to read a folder without a configuration.

    Returns:
        Grey only if every image is; a size that most images fill; the smallest share held out that a package can be
        calibrated on.

    Raises:
        DataError: if the folder is missing or has too few images that can be read.
    """
    source = sources.find(path)
    headers, unreadable = decoded.headers(source, KEEP_FROM)
    if not headers:
        raise notes.refusal(source.where, source.listing, unreadable)
    positions = sorted(position(name) for name in source.listing.names)
    enough = positions[min(FEWEST_HELD_OUT, len(positions)) - 1]
    fraction = max(FolderConfig.held_out_fraction, (math.floor(enough / FRACTION_STEP) + 1) * FRACTION_STEP)
    return FolderConfig(
        path=path,
        image_size=_suggested_size(headers),
        channels=3 if any(header.channels == COLOUR for header in headers) else 1,
        held_out_fraction=min(round(fraction, 2), LARGEST_FRACTION),
    )


def _wanted(where: str, config: FolderConfig, headers: Sequence[Header]) -> TargetFormat:
    """The format of all images; refused where they differ and the configuration does not decide."""
    of_channels, of_sizes = Counter(header.channels for header in headers), Counter(header.size for header in headers)
    differences = []
    if config.channels == "as_is" and len(of_channels) > 1:
        differences.append(
            f"has {of_channels[GREY]:,} grey images and {of_channels[COLOUR]:,} in colour: set channels = 3 or 1"
        )
    if config.image_size == "as_is" and len(of_sizes) > 1:
        most = ", ".join(f"{count:,} of {notes.size(size)}" for size, count in of_sizes.most_common(MOST_SIZES))
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


def _suggested_size(headers: Sequence[Header]) -> tuple[int, int]:
    """The common size, if there is one and it is small enough; else a square that half of the images fill."""
    sizes = {header.size for header in headers}
    if len(sizes) == 1 and max(next(iter(sizes))) <= LARGEST_KEPT and min(next(iter(sizes))) >= SIDES[0]:
        return next(iter(sizes))
    shorter = sorted(min(header.size) for header in headers)[len(headers) // 2]
    side = max((side for side in SIDES if side <= shorter), default=SIDES[0])
    return side, side
