"""What lies in the folder of packages, and whether it is still what lay there before.

    models_dir/NAME/VERSION ──▶ {PackageKey: Stamp}

A look costs a listing a folder and a `stat` a file, so it can be taken every few seconds. It opens nothing: a stamp
tells that a folder changed, never what it holds. It stands alone because it knows neither manifests nor what is served.
"""

import os
import re
from pathlib import Path
from typing import NamedTuple

from service.engine.graphs import PackageKey

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,9}")

# Name, inode, size in bytes and time of the last change in nanoseconds of every file, by name.
Stamp = tuple[tuple[str, int, int, int], ...]


class Found(NamedTuple):
    """What lies in a folder of packages.

    Attributes:
        packages: package → stamp of its folder; by name, then the newest version first.
        unreadable: name of a folder whose versions cannot be listed → why.
    """

    packages: dict[PackageKey, Stamp]
    unreadable: dict[str, str]


def find_packages(models_dir: Path) -> Found:
    """Find what looks like a package: a folder `NAME/VERSION`, the version without leading zeros.

    Names that begin with a dot are half-written packages, and are left alone like everything else. One folder that
    cannot be read hides no other: a version that cannot be is found all the same, with a stamp that says why, and is
    refused when it is loaded.

    Args:
        models_dir: folder of packages.

    Returns:
        What there is; what vanishes meanwhile is not.

    Raises:
        OSError: the folder of packages itself cannot be read.
    """
    found: dict[PackageKey, Stamp] = {}
    unreadable: dict[str, str] = {}
    for of_name in models_dir.iterdir():
        if not NAME.fullmatch(of_name.name):
            continue
        try:
            versions = [entry for entry in of_name.iterdir() if VERSION.fullmatch(entry.name)]
        except OSError as error:
            if _is_odd(of_name, error):
                unreadable[of_name.name] = error.strerror or str(error)
            continue
        for folder in versions:
            stamp = _stamp(folder)
            if stamp is not None:
                found[PackageKey(of_name.name, int(folder.name))] = stamp
    return Found({key: found[key] for key in sorted(found, key=lambda key: (key.name, -key.version))}, unreadable)


def _stamp(folder: Path) -> Stamp | None:
    """The stamp of a folder; None where there is no folder, or none any more."""
    try:
        entries = [(entry.name, entry.lstat()) for entry in folder.iterdir()]
    except OSError as error:
        return ((error.strerror or "", 0, 0, error.errno or 0),) if _is_odd(folder, error) else None
    return tuple(sorted((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in entries))


def _is_odd(path: Path, error: OSError) -> bool:
    """Whether an error is worth a word: neither a plain file, nor what has vanished. A link to nowhere is."""
    if isinstance(error, FileNotFoundError):
        return os.path.lexists(path) and path.is_symlink()
    return not isinstance(error, NotADirectoryError)
