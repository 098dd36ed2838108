"""What a look at the folder comes to: which packages are new, gone or changed.

Pure functions of what was found and of where every package stands; `repository.py` looks before and acts after.
"""

import os
import re
from collections.abc import Container, Mapping
from pathlib import Path
from typing import NamedTuple

from service.engine.model_spec import PackageKey
from service.packages.registry import PackageRegistry, PackageStatus, State
from service.settings import Settings

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


class LoadPolicy:
    """Which models should be served, by name.

    Args:
        settings: which model is the default, and which to load.

    Attributes:
        configured: what the settings name, the default first.
    """

    def __init__(self, settings: Settings) -> None:
        named = [name.strip() for name in settings.load_models.split(",") if name.strip()]
        self.configured = tuple(dict.fromkeys((settings.default_model, *named)))
        self._every_package = not named
        self._asked: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        return self._asked.get(name, self._every_package or name in self.configured)

    def include(self, name: str) -> None:
        """Serve a model from now on."""
        self._asked[name] = True

    def exclude(self, name: str) -> None:
        """Serve a model no more."""
        self._asked[name] = False


Stamps = Mapping[PackageKey, Stamp | None]


def state_of(key: PackageKey, registry: PackageRegistry) -> State | None:
    """Where a package stands; None where nothing is known of it."""
    status = registry.get(key)
    return None if status is None else status.state


def new_packages(found: Stamps, tried: Stamps, registry: PackageRegistry, policy: LoadPolicy) -> list[PackageKey]:
    """Find what should be ready and is not, but for what was refused as it lies there.

    Args:
        found: what the folder holds.
        tried: stamp of each package's folder when it was loaded last.
        registry: where every package stands.
        policy: which models should be served.

    Returns:
        Packages to load, in the order found.
    """
    return [
        key
        for key, stamp in found.items()
        if key.name in policy
        and (state := state_of(key, registry)) != "ready"
        and not (state == "refused" and tried[key] == stamp)
    ]


def gone_packages(found: Stamps, registry: PackageRegistry, configured: Container[str]) -> list[PackageStatus]:
    """Find what has no folder any more, and may go.

    The newest version of a configured model stays where the folder holds none that is ready: an empty folder is a lost
    mount more often than a wish.

    Args:
        found: what the folder holds.
        registry: where every package stands.
        configured: names of models that the service promised to have.

    Returns:
        Where each of them stands now.
    """

    def must_stay(status: PackageStatus) -> bool:
        name = status.key.name
        if name not in configured or status.package is None:
            return False
        others = [key for key in found if key.name == name and state_of(key, registry) == "ready"]
        return not others and registry.newest_ready(name) is status.package

    return [status for status in registry.statuses() if status.key not in found and not must_stay(status)]


def changed_packages(found: Stamps, tried: Stamps, registry: PackageRegistry) -> list[PackageKey]:
    """Find what is ready, but lies in the folder no more as it was loaded."""
    ready = [status.key for status in registry.statuses() if status.state == "ready"]
    return [key for key in ready if found.get(key) != tried[key]]
