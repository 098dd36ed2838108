"""Lists images below a folder or in archives: the files to read, in order, and what is left out and why.

Hidden files and folders are left out at any depth, as are folders that operating systems and archives add. Links are
followed, except those to a folder above them.
"""

import hashlib
import os
import stat
import time
from collections import Counter
from collections.abc import Collection, Mapping
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
COARSE_NS, FINE_NS = 10**9, 10**7  # between two times that a file system tells apart: whole seconds, or a kernel's tick

Identity = tuple[int, int]  # of a folder on this machine: device and inode


@dataclass(frozen=True)
class State:
    """What says without reading them that files are as they were.

    Attributes:
        fingerprint: hexadecimal hash of names, sizes and times of change.
        size: bytes of all files together.
        newest_ns: the latest of their times, in nanoseconds since 1970.
        seen_ns: when they were looked at.
    """

    fingerprint: str
    size: int
    newest_ns: int
    seen_ns: int

    @property
    def settled(self) -> bool:
        """Whether a later change would have another time: times are whole seconds on some file systems."""
        tick = COARSE_NS if self.newest_ns % COARSE_NS == 0 else FINE_NS
        return self.newest_ns + 2 * tick < self.seen_ns


@dataclass(frozen=True)
class Listing:
    """The content of a folder or of archives.

    Attributes:
        names: of the image files, relative to the folder, with `/` between the parts, sorted.
        folders: names of the folders that were read, without the first.
        hidden: files and folders that were left out for their name.
        others: names of the files that are no images.
        dangling: links to nothing.
        cycles: links to a folder above them.
        linked: links in archives.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    hidden: tuple[str, ...]
    others: tuple[str, ...]
    dangling: tuple[str, ...] = ()
    cycles: tuple[str, ...] = ()
    linked: tuple[str, ...] = ()

    @property
    def left_out(self) -> str:
        """What was left out, in words; empty where nothing was."""
        suffixes = Counter(shown(Path(name).suffix.lower()) or "without a suffix" for name in self.others)
        words = [
            f"{count:,} {suffix}" for suffix, count in sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
        ]
        words += [
            f"{len(names):,} {kind} ({named(names)})"
            for kind, names in (
                ("hidden or of the system", self.hidden),
                ("linked to nothing", self.dangling),
                ("linked to a folder above", self.cycles),
                ("links in an archive", self.linked),
            )
            if names
        ]
        return ", ".join(words)

    @property
    def formats(self) -> str:
        """What is read, and what was left out, in words."""
        read = f"read are {', '.join(sorted(SUFFIXES))}"
        return f"{read}; left out: {self.left_out}" if self.left_out else read


def is_hidden(part: str) -> bool:
    """Whether a file or folder is left out for its name."""
    return part.startswith(".") or part in SYSTEM_FOLDERS


def is_image(name: str) -> bool:
    """Whether a file is read, by its suffix."""
    return Path(name).suffix.lower() in SUFFIXES


def state_of(found: Mapping[str, os.stat_result]) -> State:
    """Summarise the state of files.

    Args:
        found: status of each file by its name.
    """
    seen_ns, digest = time.time_ns(), hashlib.sha256()
    for name, status in sorted(found.items()):
        # The time of change as well, which nothing can set back, as `cp -p` and `touch` do with that of the content.
        digest.update(os.fsencode(name) + f"\0{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}\n".encode())
    return State(
        fingerprint=digest.hexdigest(),
        size=sum(status.st_size for status in found.values()),
        newest_ns=max((max(status.st_mtime_ns, status.st_ctime_ns) for status in found.values()), default=0),
        seen_ns=seen_ns,
    )


def walk(root: Path) -> tuple[Listing, State]:
    """List a folder and everything below it.

    Returns:
        The files to read and what is left out; and the state of the images.

    Raises:
        DataError: if a folder or file cannot be accessed.
    """
    images: dict[str, os.stat_result] = {}
    folders: list[str] = []
    hidden: list[str] = []
    others: list[str] = []
    dangling: list[str] = []
    cycles: list[str] = []
    waiting: list[tuple[str, frozenset[Identity]]] = [("", frozenset({_identity(root.stat())}))]
    while waiting:
        folder, above = waiting.pop()
        for entry in _entries(root / folder):
            name = f"{folder}/{entry}" if folder else entry
            if is_hidden(entry):
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
            elif is_image(entry) and stat.S_ISREG(found.st_mode):
                images[name] = found
            else:
                others.append(name)
    listing = Listing(
        names=tuple(sorted(images)),
        folders=tuple(sorted(folders)),
        hidden=tuple(sorted(hidden)),
        others=tuple(sorted(others)),
        dangling=tuple(sorted(dangling)),
        cycles=tuple(sorted(cycles)),
    )
    return listing, state_of(images)


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
