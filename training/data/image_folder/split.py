"""Decides by an image's name whether it is held out and which class it has.

    train/cats/1.png     trained on, of the class cats        cats/1.png    held out or not by a hash of this name
    test/cats/2.png      held out

Shapes: N images.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Labels
from training.data.image_folder.listing import Listing, is_text, named, shown
from training.errors import DataError

HASH_RANGE = 1 << 64
# Usual names of the folders of a split, in any case.
TRAINED_ON: Final = frozenset({"train", "training"})
HELD_OUT: Final = frozenset({"test", "testing", "val", "valid", "validation"})
AUTO, FRACTION = "auto", "fraction"  # of `held_out`; anything else is a folder's name
INTEGER: Final = re.compile(r"-?[0-9]+")


@dataclass(frozen=True)
class Split:
    """Which images are held out.

    Attributes:
        held_out: [N] whether an image is.
        below: the images' names without the folders of the split.
        parts: the folders of the split; none where a fraction decides.
        told: how the split was decided, as text.
    """

    held_out: NDArray[np.bool_]
    below: list[str]
    parts: frozenset[str]
    told: str


def split_of(where: str, names: Sequence[str], held_out: str, fraction: float) -> Split:
    """Hold out the folders of the split, else a fraction.

    Args:
        names: [N] of the images, relative to it.
        held_out: "auto", "fraction", or the folder of the images to hold out.
        fraction: share to hold out where no folder decides.

    Raises:
        DataError: if the folder to hold out is missing, or the split is ambiguous.
    """
    folders = [name.split("/", 1)[0] if "/" in name else "" for name in names]
    first = sorted(set(folders) - {""})
    parts = {folder for folder in first if folder.casefold() in TRAINED_ON | HELD_OUT}
    if held_out not in (AUTO, FRACTION):
        held = {held_out}
        if held_out not in first:
            raise DataError(
                f"{where} has no images in a folder {held_out}, which [data] held_out names; "
                f"it has {named(first) or 'no folders of images'}"
            )
    else:
        held = {folder for folder in parts if folder.casefold() in HELD_OUT}
    if held_out == FRACTION or (held_out == AUTO and not (held and parts - held)):
        told = f"by {fraction:g} of the names' hashes ([data] held_out_fraction)"
        chosen = np.array([position(name) < fraction for name in names])
        return Split(chosen, list(names), frozenset(), told)
    beside = [folder or "images" for folder in sorted(set(folders) - parts)]
    if held_out == AUTO and beside:
        raise DataError(
            f"{where} has {named(beside)} beside {named(sorted(parts))}, which look like a split: set held_out in "
            f'[data] to the folder of the images to hold out, or to "fraction" if none is'
        )
    parts |= held
    counts = Counter(folders)
    told = ", ".join(
        f"{shown(folder) or 'images outside'} {counts[folder]:,} {side}"
        for side, chosen in (("held out", held), ("trained on", counts.keys() - held))
        for folder in sorted(chosen)
    )
    return Split(
        held_out=np.array([folder in held for folder in folders]),
        below=[_below(name, parts) for name in names],
        parts=frozenset(parts),
        told=f"by folders: {told} ([data] held_out)",
    )


def _below(name: str, parts: Collection[str]) -> str:
    """A name without the folder of the split that it begins with."""
    folder, _, rest = name.partition("/")
    return rest if folder in parts else name


def classes_of_folders(where: str, listing: Listing, split: Split) -> tuple[tuple[str, ...], Labels]:
    """Take the first folder of each name, below the folders of the split, for a class.

    Returns:
        The names of the classes, ascending if all are integers, else in alphabetical order; and [N] numbers of them.

    Raises:
        DataError: if an image has no class, a class no image on a side of the split, or a name is not UTF-8.
    """
    loose = [name for name, below in zip(listing.names, split.below, strict=True) if "/" not in below]
    if loose:
        raise DataError(
            f'{where}: outside every folder of a class: {named(loose)}; [data] labels = "folders" wants one for each'
        )
    of_images = [below.split("/", 1)[0] for below in split.below]
    found = set(of_images)
    below = {_below(folder, split.parts) for folder in listing.folders if folder not in split.parts}
    empty = sorted(folder for folder in below - found if "/" not in folder)
    if empty:
        raise DataError(
            f"{where}: no image that is read is in the folders {named(empty)}; remove them, or begin their names "
            f"with a dot; {listing.formats}"
        )
    return numbered(where, of_images, split)


def numbered(where: str, of_images: Sequence[str], split: Split) -> tuple[tuple[str, ...], Labels]:
    """Number the classes of images.

    Args:
        of_images: [N] name of each image's class.

    Returns:
        As `classes_of_folders`.

    Raises:
        DataError: as `classes_of_folders`.
    """
    found = set(of_images)
    if len(found) == 1:
        raise DataError(
            f"{where} has one class, {named(found)}; there is nothing to tell apart (are the classes a folder deeper?)"
        )
    foreign = sorted(name for name in found if not is_text(name))
    if foreign:
        raise DataError(f"{where}: the folders {named(foreign)} name classes and are not UTF-8; rename them")
    numbers = all(INTEGER.fullmatch(name) for name in found)
    classes = tuple(sorted(found, key=(lambda name: (int(name), name)) if numbers else None))
    number_of = {name: number for number, name in enumerate(classes)}
    labels = np.array([number_of[name] for name in of_images], np.int64)
    for side, chosen in (("trained on", ~split.held_out), ("held out", split.held_out)):
        missing = sorted(set(range(len(classes))) - set(labels[chosen].tolist()))
        if missing:
            raise DataError(
                f"{where}: no image of {named([classes[number] for number in missing])} is {side}; it needs more images"
            )
    return classes, labels


def position(name: str) -> float:
    """Map a name to a fixed number in [0, 1), uniformly.

    Args:
        name: of an image, relative to the folder.

    Returns:
        The image is held out if this is below the fraction.
    """
    return int.from_bytes(hashlib.sha256(os.fsencode(name)).digest()[:8], "big") / HASH_RANGE
