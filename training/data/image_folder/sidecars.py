"""Reads an image's class from a small file beside it, as WebDataset's shards have them.

    000017.jpg   an image                 000017.cls    its class, a number or a name
                                          000017.json   or {"label": its class}

Files belong together if their names are equal up to the first dot.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Final

from training.data.image_folder.image_files import UnreadableError
from training.data.image_folder.listing import Listing, named, shown
from training.data.image_folder.places import Place, Reader
from training.errors import DataError
from training.progress import progress

SUFFIXES: Final = (".cls", ".json")  # the first is taken where there are both
LABEL_KEYS: Final = ("label", "cls", "class")  # of an object, the first that is there


def find(listing: Listing) -> dict[str, str]:
    """Find the files that may have classes.

    Returns:
        Names of files by what the images' names begin with.
    """
    found: dict[str, str] = {}
    for suffix in SUFFIXES:
        for name in listing.others:
            if name.lower().endswith(suffix):
                found.setdefault(_key(name), name)
    return found


def classes(where: str, names: Sequence[str], places: Mapping[str, Place], found: Mapping[str, str]) -> list[str]:
    """Read the class of every image.

    Args:
        names: of the images.
        places: of all files.
        found: as from `find`.

    Returns:
        Names of classes, one for each image.

    Raises:
        DataError: if an image has no such file, or one that states no class.
    """
    alone = [name for name in names if _key(name) not in found]
    if alone:
        raise DataError(
            f'{where}: no .cls or .json beside {named(alone)}; [data] labels = "sidecars" wants one for each image'
        )
    reader, of_images, wrong = Reader(), [], []
    for name in progress(names, "reading labels", len(names), "image"):
        sidecar = found[_key(name)]
        try:
            of_images.append(_class(sidecar, reader.read(places[sidecar])))
        except (UnreadableError, ValueError, RecursionError):
            wrong.append(sidecar)
    if wrong:
        raise DataError(
            f"{where}: no class in {named(wrong)}; a .cls file holds a number or a name, a .json file that, or an "
            f"object with one of {', '.join(LABEL_KEYS)}"
        )
    return of_images


def _class(name: str, content: bytes) -> str:
    text = content.decode().strip()
    if name.lower().endswith(SUFFIXES[0]):
        label: object = text
    else:
        label = json.loads(text)
        if isinstance(label, dict):
            label = next((label[key] for key in LABEL_KEYS if key in label), None)
    if isinstance(label, bool) or not isinstance(label, int | str) or not str(label).strip():
        raise ValueError(f"{shown(name)} states no class")
    return str(label).strip()


def _key(name: str) -> str:
    folder, slash, file = name.rpartition("/")
    return folder + slash + file.split(".", 1)[0]
