"""Lists the images in ZIP and tar archives, whose members are read where they lie.

A folder that all images of the archives are in is no part of their names, so that the archive of a folder lists as
the folder does. Names are those of the archive, without `..` or a leading `/`, and are never opened as paths.
"""

import os
import posixpath
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from training.data.image_folder.listing import MOST_NAMED, Listing, State, is_hidden, is_image, named, shown, state_of
from training.data.image_folder.places import LARGEST_FILE, Place
from training.errors import DataError
from training.progress import progress

SUFFIXES: Final = frozenset({".zip", ".tar"})
ENCRYPTED: Final = 1  # bit of a ZIP member's flags
UTF_8: Final = 1 << 11  # the other; without it names are bytes, which `zipfile` reads as code page 437
BLOCK: Final = 512  # bytes; one of zeros ends a tar archive


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


def read(files: Sequence[Path]) -> tuple[Listing, dict[str, Place], State]:
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
        raise DataError(f"{where} is encrypted ({named(encrypted, MOST_NAMED)}); make an archive without a password")
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
