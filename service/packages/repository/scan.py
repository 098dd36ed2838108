"""Scans the models folder, and says which packages are new, gone or changed since the last scan."""

import json
import os
import re
from collections.abc import Collection, Container, Mapping
from pathlib import Path
from typing import NamedTuple

from service.engine.model_spec import PackageKey
from service.errors import FileDamaged, ManifestRefused, PackageError
from service.packages.files import MANIFEST
from service.packages.manifest import read_manifest_bytes
from service.packages.registry import PackageRegistry, PackageStatus, State
from service.settings import MODEL_NAME, Settings

VERSION = re.compile(r"[1-9][0-9]{0,9}")

# Name, inode, size in bytes and time of the last change in nanoseconds of every file, ordered by name.
Stamp = tuple[tuple[str, int, int, int], ...]


class Found(NamedTuple):
    """The content of a folder of packages.

    Attributes:
        packages: package → stamp of its folder; by name, then the newest version first.
        unreadable: name of a folder whose versions cannot be listed → why.
        absent: package that should be there as well and is not, since it is in an object store → why, None where no
            model of its name is wanted.
        problem: why the object store could not be read; else None.
    """

    packages: dict[PackageKey, Stamp]
    unreadable: dict[str, str]
    absent: Mapping[PackageKey, str | None] = {}
    problem: str | None = None

    def unfetched(self, name: str | None = None) -> dict[PackageKey, PackageError]:
        """The packages, or those of a name, that an object store has and does not give."""
        return {
            key: FileDamaged(reason)
            for key, reason in self.absent.items()
            if reason is not None and name in {None, key.name}
        }


def find_packages(models_dir: Path) -> Found:
    """Find what looks like a package: a folder `NAME/VERSION`, the version without leading zeros.

    A folder without any of these that has a manifest itself is one package, as KServe lays out `/mnt/models`.

    Names that begin with a dot are half-written packages; they are ignored, as everything else is. A folder that cannot
    be read affects no other: such a version is found, with a stamp that says why, and refused when it is loaded. What
    vanishes during the scan is left out.

    Raises:
        OSError: the folder of packages itself cannot be read.
        ManifestRefused: it is one package, whose manifest does not say which.
    """
    found: dict[PackageKey, Stamp] = {}
    unreadable: dict[str, str] = {}
    for of_name in models_dir.iterdir():
        if not MODEL_NAME.fullmatch(of_name.name):
            continue
        try:
            versions = [entry for entry in of_name.iterdir() if VERSION.fullmatch(entry.name)]
        except OSError as error:
            if _is_odd(of_name, error):
                unreadable[of_name.name] = error.strerror or str(error)
            continue
        for folder in versions:
            stamp = folder_stamp(folder)
            if stamp is not None:
                found[PackageKey(of_name.name, int(folder.name))] = stamp
    if not found and not unreadable and os.path.lexists(models_dir / MANIFEST):
        stamp = folder_stamp(models_dir)
        return Found({} if stamp is None else {stated_key(models_dir): stamp}, unreadable)
    return Found({key: found[key] for key in sorted(found, key=lambda key: (key.name, -key.version))}, unreadable)


def package_folder(models_dir: Path, key: PackageKey) -> Path:
    """The folder of a package that was found."""
    folder = models_dir / key.name / str(key.version)
    return models_dir if not os.path.lexists(folder) and os.path.lexists(models_dir / MANIFEST) else folder


def look(models_dir: Path) -> Found:
    """As `find_packages`.

    Raises:
        FileDamaged: the folder cannot be read now; it may be a mount that is gone, or half-written.
    """
    try:
        return find_packages(models_dir)
    except OSError as error:
        raise FileDamaged(f"the folder {models_dir} cannot be read ({error.strerror})") from error
    except ManifestRefused as error:
        raise FileDamaged(str(error)) from error


def only_package(models_dir: Path) -> PackageKey | None:
    """The package that a folder of packages itself is; None where it holds packages, or cannot be read."""
    try:
        found = find_packages(models_dir).packages
    except (OSError, ManifestRefused):
        return None  # loading it says why
    return next((key for key in found if package_folder(models_dir, key) == models_dir), None)


def stated_key(folder: Path) -> PackageKey:
    """The name and the version that a manifest states, which may be wrong in all else: loading it says so.

    Raises:
        ManifestRefused: it states none.
    """
    try:
        stated = json.loads(read_manifest_bytes(folder))
        name, version = str(stated["name"]), str(stated["version"])
    except (ValueError, RecursionError, LookupError, TypeError):
        name = version = ""
    if not (MODEL_NAME.fullmatch(name) and VERSION.fullmatch(version)):
        raise ManifestRefused(
            f"{MANIFEST}: states no name and version, as the only package of the folder {folder} must"
        )
    return PackageKey(name, int(version))


def folder_stamp(folder: Path) -> Stamp | None:
    """The stamp of a folder; None where there is none, or none any more."""
    try:
        entries = [(entry.name, entry.lstat()) for entry in folder.iterdir()]
    except OSError as error:
        return ((error.strerror or "", 0, 0, error.errno or 0),) if _is_odd(folder, error) else None
    return tuple(sorted((name, found.st_ino, found.st_size, found.st_mtime_ns) for name, found in entries))


def _is_odd(path: Path, error: OSError) -> bool:
    """Whether an error must be reported: of a dangling link it is, of a plain file or what has vanished it is not."""
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


def files_bytes(stamp: Stamp) -> int:
    """What the files of a folder hold."""
    return sum(size for _, _, size, _ in stamp)


Stamps = Mapping[PackageKey, Stamp | None]


def state_of(key: PackageKey, registry: PackageRegistry) -> State | None:
    """The state of a package; None where it is unknown."""
    status = registry.get(key)
    return None if status is None else status.state


def new_packages(found: Stamps, tried: Stamps, registry: PackageRegistry, policy: LoadPolicy) -> list[PackageKey]:
    """Packages that should be ready and are not, in the order found; not those on demand or refused as they are.

    Args:
        found: by the last scan.
        tried: stamp of each package's folder when it was loaded last.
        registry: the state of every package.
        policy: which models should be served.
    """
    return [
        key
        for key, stamp in found.items()
        if key.name in policy
        and ((status := registry.get(key)) is None or not (status.state == "ready" or status.on_demand))
        and not (status and status.state == "refused" and tried.get(key) == stamp)
    ]


def gone_packages(
    found: Collection[PackageKey], registry: PackageRegistry, configured: Container[str]
) -> list[PackageStatus]:
    """Packages without a folder, to be unloaded.

    The newest version of a configured model stays where the folder holds none that is ready: an empty folder is more
    often a lost mount than intended.

    Args:
        found: by the last scan, and in an object store.
        registry: the state of every package.
        configured: names of models that the service promises to have.
    """

    def must_stay(status: PackageStatus) -> bool:
        name = status.key.name
        if name not in configured or status.package is None:
            return False
        others = [key for key in found if key.name == name and state_of(key, registry) == "ready"]
        return not others and registry.newest_ready(name) is status.package

    return [status for status in registry.statuses() if status.key not in found and not must_stay(status)]


def changed_packages(found: Stamps, tried: Stamps, registry: PackageRegistry) -> list[PackageKey]:
    """Packages that are ready, but whose folder is no longer as it was loaded."""
    ready = [status.key for status in registry.statuses() if status.state == "ready"]
    return [key for key in ready if found.get(key) != tried[key]]
