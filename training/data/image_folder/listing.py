"""Lists a folder of images: the files to read, in order, and what is left out and why.

Hidden files and folders are left out at any depth, as are folders that operating systems and archives add. Links are
followed, except those to a folder above them.
"""

import os
import stat
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import DataError

SUFFIXES: Final = frozenset(
    {".png", ".jpg", ".jpeg", ".jfif", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".avif"}
)  # each by a decoder that comes with Pillow
# Not hidden by name, but no data: archive metadata of macOS, thumbnails of network drives, and waste bins.
SYSTEM_FOLDERS: Final = frozenset({"__MACOSX", "@eaDir", "#recycle", "$RECYCLE.BIN"})
MOST_NAMED: Final = 20  # in one sentence

Identity = tuple[int, int]  # of a folder on this machine: device and inode


@dataclass(frozen=True)
class Listing:
    """The content of a folder.

    Attributes:
        names: of the image files, relative to the folder, with `/` between the parts, sorted.
        folders: names of the folders that were read, without the first.
        hidden: files and folders that were left out for their name.
        other: how many files of each suffix that is not read.
        dangling: links to nothing.
        cycles: links to a folder above them.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    hidden: tuple[str, ...]
    other: Counter[str]
    dangling: tuple[str, ...]
    cycles: tuple[str, ...]

    @property
    def left_out(self) -> str:
        """What was left out, in words; empty where nothing was."""
        words = [f"{count:,} {suffix}" for suffix, count in self.other.most_common()]
        words += [
            f"{len(names):,} {kind} ({named(names)})"
            for kind, names in (
                ("hidden or of the system", self.hidden),
                ("linked to nothing", self.dangling),
                ("linked to a folder above", self.cycles),
            )
            if names
        ]
        return ", ".join(words)

    @property
    def formats(self) -> str:
        """What is read, and what was left out, in words."""
        read = f"read are {', '.join(sorted(SUFFIXES))}"
        return f"{read}; left out: {self.left_out}" if self.left_out else read


def walk(root: Path) -> Listing:
    """List a folder and everything below it.

    Returns:
        The files to read and what is left out.

    Raises:
        DataError: if a folder or file cannot be accessed.
    """
    names: list[str] = []
    folders: list[str] = []
    hidden: list[str] = []
    other: Counter[str] = Counter()
    dangling: list[str] = []
    cycles: list[str] = []
    waiting: list[tuple[str, frozenset[Identity]]] = [("", frozenset({_identity(root.stat())}))]
    while waiting:
        folder, above = waiting.pop()
        for entry in _entries(root / folder):
            name = f"{folder}/{entry}" if folder else entry
            if entry.startswith(".") or entry in SYSTEM_FOLDERS:
                hidden.append(name)
                continue
            found = _stat(root / name)
            if found is None:
                dangling.append(name)
            elif stat.S_ISDIR(found.st_mode):
                if _identity(found) in above:
                    cycles.append(name)
                else:
                    folders.append(name)
                    waiting.append((name, above | {_identity(found)}))
            elif Path(entry).suffix.lower() in SUFFIXES and stat.S_ISREG(found.st_mode):
                names.append(name)
            else:
                other[Path(entry).suffix.lower() or "without a suffix"] += 1
    return Listing(
        names=tuple(sorted(names)),
        folders=tuple(sorted(folders)),
        hidden=tuple(sorted(hidden)),
        other=Counter({shown(suffix): count for suffix, count in sorted(other.items())}),
        dangling=tuple(sorted(dangling)),
        cycles=tuple(sorted(cycles)),
    )


def named(names: Collection[str], most: int = MOST_NAMED) -> str:
    """Name the first of some files or folders.

    Returns:
        Such as `a.png, b.png and 3 more`.
    """
    first = ", ".join(shown(name) for name in list(names)[:most])
    return f"{first} and {len(names) - most:,} more" if len(names) > most else first


def shown(name: str) -> str:
    r"""Escape a file's name, so that any terminal prints it on one line.

    Args:
        name: from the system; bytes that are not UTF-8 are lone surrogates.

    Returns:
        The name, with `\xff` for a byte that is not UTF-8 and an escape for a character that is not printable.
    """
    text = os.fsencode(name).decode(errors="backslashreplace")
    return "".join(character if character.isprintable() else ascii(character)[1:-1] for character in text)


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8.

    Args:
        name: as the system gives it.

    Returns:
        False if any byte is not UTF-8.
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise DataError(f"cannot read the folder {shown(str(folder))}: {error.strerror}") from error


def _stat(path: Path) -> os.stat_result | None:
    """Status of a path's target; None for a dangling or circular link."""
    try:
        return path.stat()
    except OSError as error:
        if path.is_symlink():
            return None
        raise DataError(f"cannot read {shown(str(path))}: {error.strerror}") from error


def _identity(found: os.stat_result) -> Identity:
    return found.st_dev, found.st_ino
