"""Finds the images that a path means: those below a folder, in a ZIP archive, or in the shards of a tar archive."""

import glob
import itertools
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.data.image_folder import archives
from training.data.image_folder.listing import Listing, State, is_text, named, shown, walk
from training.data.image_folder.places import Place
from training.errors import DataError

BRACES: Final = re.compile(r"\{([^{}]*)\}")
NUMBERS: Final = re.compile(r"([0-9]+)\.\.([0-9]+)")
MOST_SHARDS: Final = 100_000  # that braces may name
PACKED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")


@dataclass(frozen=True)
class Source:
    """Images and where they lie.

    Attributes:
        where: the path, for people.
        name: of the folder or archive, without its suffix.
        kind: "folder" or "archive".
        listing: the images in their order, and what is left out.
        places: of every file by its name.
        state: of the files.
    """

    where: str
    name: str
    kind: str
    listing: Listing
    places: Mapping[str, Place]
    state: State

    @property
    def image_places(self) -> list[Place]:
        """Of the images, in their order."""
        return [self.places[name] for name in self.listing.names]


def find(path: str) -> Source:
    """List the images of a path.

    Args:
        path: a folder, a .zip or .tar file, or several by `*` or `{000..009}`.

    Raises:
        DataError: if there is nothing, or it cannot be read.
    """
    if not path:
        raise DataError("[data] path is empty; name the folder of the images, there or with --data-path FOLDER")
    if not is_text(path):
        raise DataError(f"the path {shown(path)} is not UTF-8, which a configuration is written in; rename the folder")
    root = Path(path).expanduser()
    where = shown(str(root))
    if root.is_dir():
        listing, state = walk(root)
        names = [*listing.names, *listing.others]
        places = {name: Place(os.path.join(root, name)) for name in names}  # noqa: PTH118 - a tenth of pathlib's time
        return Source(where, shown(root.resolve().name) or "images", "folder", listing, places, state)
    files = _files(str(root))
    if not files:
        raise DataError(f"there is no folder {where}")
    packed = [file.name for file in files if file.name.lower().endswith(PACKED)]
    if packed:
        raise DataError(
            f"{named(packed)}: a compressed tar cannot be read in place; unpack it to .tar (its images are compressed "
            "anyway)"
        )
    foreign = [file.name for file in files if file.suffix.lower() not in archives.SUFFIXES]
    if foreign:
        raise DataError(f"{where}: {named(foreign)} is no folder, .zip or .tar, which are what images are read from")
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise DataError(f"there is no {named(missing)}")
    listing, found, state = archives.read(files)
    return Source(where, _name(files), "archive", listing, found, state)


def _files(path: str) -> list[Path]:
    """The files that a path means, sorted; empty where there are none."""
    if Path(path).exists():
        return [Path(path)]
    named_by_braces = _expanded(path)
    found = [
        file
        for one in named_by_braces
        for file in (sorted(glob.glob(one)) if glob.has_magic(one) else [one])  # noqa: PTH207 - the pattern may be absolute
    ]
    return [] if found == [path] else [Path(file) for file in dict.fromkeys(found)]


def _expanded(path: str) -> list[str]:
    """Expand `{000..009}` and `{a,b}` as a shell does."""
    parts = BRACES.split(path)
    choices = [[text] if number % 2 == 0 else _choices(text) for number, text in enumerate(parts)]
    count = 1
    for choice in choices:
        count *= len(choice)
    if count > MOST_SHARDS:
        raise DataError(f"{shown(path)} names {count:,} archives, and {MOST_SHARDS:,} are the most")
    return ["".join(chosen) for chosen in itertools.product(*choices)]


def _choices(text: str) -> list[str]:
    numbers = NUMBERS.fullmatch(text)
    if numbers is None:
        return text.split(",") if "," in text else [f"{{{text}}}"]
    first, last = numbers.groups()
    if int(last) - int(first) >= MOST_SHARDS:
        raise DataError(f"{{{text}}} names {int(last) - int(first) + 1:,} archives, and {MOST_SHARDS:,} are the most")
    width = max(len(first), len(last)) if first.startswith("0") else 0
    return [f"{number:0{width}d}" for number in range(int(first), int(last) + 1)]


def _name(files: list[Path]) -> str:
    """What archives are called together."""
    if len(files) == 1:
        return shown(files[0].stem) or "images"
    common = os.path.commonprefix([file.stem for file in files]).rstrip("-_. 0123456789")  # noqa: RUF071 - of names
    return shown(common or files[0].resolve().parent.name) or "images"
