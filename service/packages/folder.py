"""What lies in the folder of packages, and whether it is still what lay there before.

    models_dir/NAME/VERSION ──▶ {PackageKey: Stamp}

A look costs a listing a folder and a `stat` a file, so it can be taken every few seconds. It opens nothing: a stamp
tells that a folder changed, never what it holds. It stands alone because it knows neither manifests nor what is served.
"""

import re
from contextlib import suppress
from pathlib import Path

from service.engine.graphs import PackageKey

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,9}")

# Name, inode, size in bytes and time of the last change in nanoseconds of every file, by name.
Stamp = tuple[tuple[str, int, int, int], ...]


def find_packages(models_dir: Path) -> dict[PackageKey, Stamp]:
    """Find what looks like a package: a folder `NAME/VERSION`, the version without leading zeros.

    Names that begin with a dot are half-written packages, and are left alone like everything else.

    Args:
        models_dir: folder of packages.

    Returns:
        Package → stamp of its folder; by name, then the newest version first.

    Raises:
        OSError: a folder cannot be read; one that vanishes meanwhile is no error.
    """
    found: dict[PackageKey, Stamp] = {}
    for of_name in models_dir.iterdir():
        if not NAME.fullmatch(of_name.name):
            continue
        with suppress(FileNotFoundError, NotADirectoryError):
            for folder in of_name.iterdir():
                if VERSION.fullmatch(folder.name):
                    with suppress(FileNotFoundError, NotADirectoryError):
                        found[PackageKey(of_name.name, int(folder.name))] = _stamp(folder)
    return {key: found[key] for key in sorted(found, key=lambda key: (key.name, -key.version))}


def _stamp(folder: Path) -> Stamp:
    entries = ((entry.name, entry.lstat()) for entry in folder.iterdir())
    return tuple(sorted((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in entries))
