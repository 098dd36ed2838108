"""Finds the images that a path means: those below a folder, or in ZIP and tar archives, which are read where they lie.

A folder that all images of the archives are in is no part of their names, so that the archive of a folder lists as
the folder does. Names are those of the archive, without `..` or a leading `/`, and are never opened as paths.
"""

import glob
import itertools
import os
import posixpath
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.data.image_folder.listing import (
    Listing,
    State,
    is_hidden,
    is_image,
    is_text,
    named,
    shown,
    state_of,
    walk,
)
from training.data.image_folder.places import LARGEST_FILE, Place
from training.errors import DataError
from training.progress import progress

ARCHIVES: Final = frozenset({".zip", ".tar"})
BRACES: Final = re.compile(r"\{([^{}]*)\}")
NUMBERS: Final = re.compile(r"([0-9]+)\.\.([0-9]+)")
MOST_SHARDS: Final = 100_000  # that braces may name
PACKED: Final = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
ENCRYPTED: Final = 1  # bit of a ZIP member's flags
UTF_8: Final = 1 << 11  # the other; without it names are bytes, which `zipfile` reads as code page 437
BLOCK: Final = 512  # bytes; one of zeros ends a tar archive


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
        return Source(where, name_of(path), "folder", listing, places, state)
    files = _files(str(root))
    if not files:
        raise DataError(f"there is no folder {where}")
    packed = [file.name for file in files if file.name.lower().endswith(PACKED)]
    if packed:
        raise DataError(
            f"{named(packed)}: a compressed tar cannot be read in place; unpack it to .tar (its images are compressed "
            "anyway)"
        )
    foreign = [file.name for file in files if file.suffix.lower() not in ARCHIVES]
    if foreign:
        raise DataError(f"{where}: {named(foreign)} is no folder, .zip or .tar, which are what images are read from")
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise DataError(f"there is no {named(missing)}")
    listing, found, state = _read(files)
    return Source(where, name_of(path), "archive", listing, found, state)


def name_of(path: str) -> str:
    """Name a folder or archive; several archives by what their names have in common."""
    root = Path(path).expanduser()
    files = [] if root.is_dir() else _files(str(root))
    if not files:
        return shown(root.resolve().name) or "images"
    common = os.path.commonprefix([file.stem for file in files])  # noqa: RUF071 - of names
    if len(files) > 1:
        common = common.rstrip("-_. 0123456789")
    return shown(common or files[0].resolve().parent.name) or "images"


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


@dataclass
class _Content:
    """What archives hold, as their members are found."""

    places: dict[str, Place] = field(default_factory=dict)
    folders: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    linked: list[str] = field(default_factory=list)

    def hides(self, name: str) -> bool:
        """Whether a member is left out for its name or that of a folder above it."""
        parts = name.split("/")
        first = next((number for number, part in enumerate(parts) if is_hidden(part)), None)
        if first is not None:
            self.hidden.add("/".join(parts[: first + 1]))
        return first is not None

    def add(self, name: str, place: Place) -> None:
        """Add a file.

        Raises:
            DataError: if there is one of the same name.
        """
        if name in self.places:
            both = {Path(self.places[name].file).name, Path(place.file).name}
            raise DataError(
                f"{shown(' and '.join(sorted(both)))}: {shown(name)} occurs twice, and a file's name must be its own "
                "in all archives together"
            )
        self.places[name] = place
        self.folders.update(_above(name))


def _read(files: Sequence[Path]) -> tuple[Listing, dict[str, Place], State]:
    """List archives, as one folder.

    Args:
        files: ZIP and tar archives.

    Returns:
        The files to read and what is left out, the place of every file by its name, and the archives' state.

    Raises:
        DataError: if an archive cannot be read, is cut off, encrypted or compressed as a whole, or if two members have
            one name.
    """
    content, status = _Content(), {}
    for path in progress(files, "listing archives", len(files), "archive"):
        try:
            status[str(path)] = path.stat()
            for _ in _zip(path, content) if path.suffix.lower() == ".zip" else _tar(path, content):
                pass
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError) as error:
            raise DataError(f"{shown(str(path))} is damaged, cut off or no archive: {error}; copy it again") from error
        except OSError as error:
            raise DataError(f"cannot read {shown(str(path))}: {error.strerror or error}") from error
    images = [name for name in content.places if is_image(name)]
    common = _common_folder(images)
    places = {name.removeprefix(common): place for name, place in content.places.items()}
    listing = Listing(
        names=tuple(sorted(name.removeprefix(common) for name in images)),
        folders=tuple(sorted({name.removeprefix(common) for name in content.folders} - {common.rstrip("/"), ""})),
        hidden=tuple(sorted(content.hidden)),
        others=tuple(sorted(places.keys() - {name.removeprefix(common) for name in images})),
        linked=tuple(sorted(content.linked)),
    )
    # The archives' places do not matter, only what they are: they may be moved together.
    state = state_of({f"{number} {Path(path).name}": found for number, (path, found) in enumerate(status.items())})
    return listing, places, state


def _common_folder(names: Sequence[str]) -> str:
    """The one first folder of all names, with its `/`; empty if there is none."""
    first = {name.split("/", 1)[0] if "/" in name else "" for name in names}
    return f"{next(iter(first))}/" if len(first) == 1 and "" not in first else ""


def _zip(path: Path, content: _Content) -> Iterator[None]:
    where = shown(str(path))
    with zipfile.ZipFile(path) as archive:
        encrypted, large = [], []
        for member in archive.infolist():
            raw = member.filename if member.flag_bits & UTF_8 else os.fsdecode(member.filename.encode("cp437"))
            name = _normal(raw)
            if not name or content.hides(name):
                continue
            if member.is_dir():
                content.folders.update([name, *_above(name)])
                continue
            content.add(name, Place(str(path), member.filename))
            if is_image(name) and member.flag_bits & ENCRYPTED:
                encrypted.append(name)
            if is_image(name) and member.file_size > LARGEST_FILE:
                large.append(name)
            yield
    if encrypted:
        raise DataError(f"{where} is encrypted ({named(encrypted)}); make an archive without a password")
    if large:
        raise DataError(f"{where}: {named(large)} would be more than {LARGEST_FILE >> 20:,} MiB each; leave them out")


def _tar(path: Path, content: _Content) -> Iterator[None]:
    where = shown(str(path))
    with path.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
        while (member := archive.next()) is not None:
            archive.members.clear()  # type: ignore[attr-defined]  # or each is kept, a kilobyte of memory
            name = _normal(member.name)
            if not name or content.hides(name):
                continue
            if member.isdir():
                content.folders.update([name, *_above(name)])
            elif member.isreg() and not member.issparse():
                content.add(name, Place(str(path), offset=member.offset_data, size=member.size))
            else:
                content.linked.append(name)
            yield
        file.seek(archive.offset)
        if file.read(BLOCK) != bytes(BLOCK):  # `tarfile` takes garbage and a missing end for the end
            raise DataError(f"{where} is cut off or damaged after {archive.offset:,} bytes; copy it again")


def _normal(name: str) -> str:
    return posixpath.normpath("/" + name.lstrip("/"))[1:]


def _above(name: str) -> list[str]:
    parts = name.split("/")[:-1]
    return ["/".join(parts[: count + 1]) for count in range(len(parts))]
