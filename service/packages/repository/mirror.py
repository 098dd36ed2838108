"""Keeps a folder of this host equal to the packages of an object store, so that all else reads a folder.

    CACHE_DIR/packages/HASH OF THE URL/
        NAME/VERSION        a link to …
        .content/SHA-256    the files of a package, by the hash of its manifest
        .fetching-…         a package that is not whole yet
        .only               the name of the package, where the store itself is one

A package is there when its manifest is, and gone when that is. It is fetched into a folder of its own, every file
compared with the manifest's size and hash, then renamed and linked: what reads the folder never meets half a package.
The manifest of a known version is fetched again only when the listing says that it changed, its files only when it did.

What cannot be fetched is refused in a sentence and tried again, at once when its objects change and else with growing
pauses. While the store does not answer, and where it holds no package at all, the folder stays as it is.
"""

import asyncio
import contextlib
import fcntl
import hashlib
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Collection, Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from service.engine.model_spec import PackageKey
from service.errors import FileDamaged, ManifestRefused, PackageError
from service.metrics import Telemetry
from service.packages.files import MANIFEST, check_file, is_private
from service.packages.manifest import MAX_MANIFEST_BYTES, parse_manifest, read_manifest_bytes
from service.packages.package import MAX_PACKAGE_BYTES
from service.packages.repository.scan import VERSION, Found, LoadPolicy, Stamp, folder_stamp, look, stated_key
from service.packages.repository.store import Listing, Object, Objects, Store
from service.packages.schema import Manifest
from service.settings import MODEL_NAME

FOLDER: Final = "packages"
CONTENT: Final = ".content"
FETCHING: Final = ".fetching-"
LOCK: Final = ".lock"
ONLY: Final = ".only"
PRIVATE_FOLDER_MODE: Final = 0o700
# Beyond it the folder is read as it is, while the transfer goes on.
PATIENCE_S: Final = 10.0
# Before a package that could not be fetched, and is listed as it was, is tried again; doubled each time.
FIRST_PAUSE_S: Final = 5.0
LONGEST_PAUSE_S: Final = 300.0

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Failure:
    """A package that could not be fetched: why, as it was listed, how often, and when to try again."""

    reason: str
    objects: Objects
    times: int
    again: float


class Mirror:
    """A folder that follows a store.

    Args:
        url: of the store, as fsspec reads it.
        cache_dir: private folder, `~` is this user's home; created where it is missing.
        policy: which models are fetched, those that are configured first; others are only listed.
        telemetry: shows for how long the store cannot be read, and counts failures.

    Attributes:
        folder: of packages.
        policy: as given.
    """

    def __init__(self, url: str, cache_dir: Path, policy: LoadPolicy, telemetry: Telemetry) -> None:
        self.folder = _folder(url, cache_dir)
        self.policy = policy
        self._telemetry = telemetry
        self._store = Store(url)
        self._listed: Collection[PackageKey] = ()
        self._refused: Mapping[PackageKey, str] = {}
        self._problem: str | None = None
        self._unread_since: float | None = None
        self._known: dict[PackageKey, tuple[Object, Stamp | None]] = {}
        self._root: tuple[Object, PackageKey] | None = None
        self._failures: dict[PackageKey, _Failure] = {}
        self._running: asyncio.Future[None] | None = None
        self._is_stopped = False
        telemetry.storage_unread_seconds.set_function(self._unread_s)

    def look(self) -> Found:
        """Scan the folder; as `scan.look`, with what the store has beside it."""
        found = look(self.folder) if self.folder.is_dir() else Found({}, {})
        absent = {
            key: self._refused.get(key)
            for key in self._listed
            if key not in found.packages and (key in self._refused or key.name not in self.policy)
        }
        return found._replace(absent=absent, problem=self._problem)

    async def sync(self) -> None:
        """Bring the folder up to date; returns after some seconds at most, while the transfer goes on."""
        if self._running is None:
            loop = asyncio.get_running_loop()
            running = self._running = loop.create_future()
            # A daemon, since a library that waits for a store must not keep the process from ending.
            threading.Thread(target=self._run, args=(loop, running), name="packages", daemon=True).start()
        await asyncio.wait({self._running}, timeout=PATIENCE_S)

    async def start(self) -> None:
        """As `sync`, and wait until each configured model has a version in the folder, or the transfer is over."""
        await self.sync()
        while self._running is not None and not all(_versions(self.folder / each) for each in self.policy.configured):
            await self.sync()

    async def have(self, name: str) -> None:
        """As `sync`, by a listing that begins now, and fetch a model that was not wanted before."""
        if self._running is not None:
            await self.sync()
        await self.sync()
        if name not in self.policy and any(key.name == name for key in self._listed):
            self.policy.include(name)
            await self.sync()

    def close(self) -> None:
        """Give up what is being fetched."""
        self._is_stopped = True

    def update(self) -> None:
        """Bring the folder up to date, in this thread; a failure is logged and counted."""
        self._unread_since = self._unread_since or time.monotonic()
        try:
            with self._locked():
                listing = self._store.listing()
                self._unread_since = None
                self._update(listing)
        except PackageError as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(
                f"the cache of packages {self.folder} cannot be written ({error.strerror}); name another folder by "
                "GANYMEDE_CACHE_DIR, or make room"
            )
        else:
            if self._problem is not None:
                log.info("object storage answers again", url=self._store.shown)
            self._problem = None

    def _unread_s(self) -> float:
        return 0.0 if self._unread_since is None else time.monotonic() - self._unread_since

    def _run(self, loop: asyncio.AbstractEventLoop, running: "asyncio.Future[None]") -> None:
        try:
            self.update()
        except Exception:
            log.exception("packages cannot be fetched")
            self._failed("the service failed while it fetched packages; its log says how")
        with contextlib.suppress(RuntimeError):  # the loop is closed: the process ends
            loop.call_soon_threadsafe(self._ran, running)

    def _ran(self, running: "asyncio.Future[None]") -> None:
        self._running = None
        if not running.done():
            running.set_result(None)

    def _failed(self, problem: str) -> None:
        self._telemetry.storage_errors.inc()
        if problem != self._problem and not self._is_stopped:
            log.warning("object storage cannot be read; packages stay as they are", reason=problem)
        self._problem = problem

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Have the folder for this process alone; services of one user and URL share it.

        Raises:
            FileDamaged: it is not private.
            OSError: it cannot be made.
        """
        if not self.folder.is_absolute():
            raise FileDamaged("packages from object storage need a private folder; name one by GANYMEDE_CACHE_DIR")
        self.folder.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
        if not is_private(self.folder.stat()):
            raise FileDamaged(
                f"the cache of packages {self.folder} can be written by others; make it private, or move it"
            )
        with (self.folder / LOCK).open("wb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log.info(
                    "waits for another process, which fetches packages into the same folder", folder=str(self.folder)
                )
                fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _update(self, listing: Listing) -> None:
        packages = listing.packages or self._only(listing.root)
        if not packages:
            raise FileDamaged(
                f"{self._store.shown}: holds no package NAME/VERSION/{MANIFEST}; name the folder that does"
            )
        for left in self.folder.glob(f"{FETCHING}*"):
            shutil.rmtree(left, ignore_errors=True)
        refused: dict[PackageKey, str] = {}
        self._listed = frozenset(packages)
        for key in sorted(packages, key=lambda key: (key.name not in self.policy.configured, key.name, -key.version)):
            if key.name in self.policy and (reason := self._try(key, packages[key])) is not None:
                refused[key] = reason
        self._refused = refused
        self._remove_others(packages)

    def _only(self, root: Objects) -> Mapping[PackageKey, Objects]:
        """The package that the store itself is, by the name and version that its manifest states."""
        if MANIFEST not in root:
            return {}
        if self._root is None or self._root[0] != root[MANIFEST]:
            with self._temporary() as folder:
                self._store.fetch(root[MANIFEST], folder / MANIFEST, MAX_MANIFEST_BYTES, lambda: self._is_stopped)
                self._root = root[MANIFEST], stated_key(folder)
                (self.folder / ONLY).write_text(self._root[1].name)
        return {self._root[1]: root}

    def _try(self, key: PackageKey, objects: Objects) -> str | None:
        """Have a package in the folder; returns why it cannot be, or None."""
        before = self._failures.pop(key, None)
        if before is not None and before.objects == objects and time.monotonic() < before.again:
            self._failures[key] = before
            return before.reason
        try:
            self._take(key, objects)
        except PackageError as error:
            if self._is_stopped:
                raise
            times = 0 if before is None or before.objects != objects else before.times + 1
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**times)
            if before is None or before.reason != str(error):
                log.error("package refused", package=str(key), reason=str(error))  # noqa: TRY400  (it says it all)
            self._telemetry.storage_errors.inc()
            self._failures[key] = _Failure(str(error), objects, times, time.monotonic() + pause_s)
            return str(error)
        return None

    def _take(self, key: PackageKey, objects: Objects) -> None:
        link = self.folder / key.name / str(key.version)
        if self._known.get(key) == (objects[MANIFEST], folder_stamp(link)):
            return
        with self._temporary() as temporary:
            self._store.fetch(objects[MANIFEST], temporary / MANIFEST, MAX_MANIFEST_BYTES, lambda: self._is_stopped)
            content = read_manifest_bytes(temporary)
            target = self.folder / CONTENT / hashlib.sha256(content).hexdigest()
            if not _is_whole(target):
                began = time.monotonic()
                fetched_bytes = self._fetch(parse_manifest(content), objects, temporary)
                shutil.rmtree(target, ignore_errors=True)
                target.parent.mkdir(exist_ok=True)
                temporary.rename(target)
                seconds = round(time.monotonic() - began, 3)
                log.info("package fetched", package=str(key), sha256=target.name, bytes=fetched_bytes, fetch_s=seconds)
        _link(link, f"../{CONTENT}/{target.name}")
        self._known[key] = objects[MANIFEST], folder_stamp(link)

    def _fetch(self, manifest: Manifest, objects: Objects, folder: Path) -> int:
        """Fetch the files that a manifest names, and compare them with it; returns their bytes."""
        total = sum(file.size for file in manifest.files.values())
        if total > MAX_PACKAGE_BYTES:
            raise ManifestRefused(f"{MANIFEST}: files: take {total} bytes; at most {MAX_PACKAGE_BYTES} are read")
        for name, file in manifest.files.items():
            if name not in objects:
                raise FileDamaged(f"{name}: is not in the store; a package is taken when all its files are there")
            if objects[name].size not in {None, file.size}:
                raise FileDamaged(f"{name}: {file.size} bytes expected, {objects[name].size} in the store")
        free = shutil.disk_usage(folder).free
        if total > free:
            raise FileDamaged(f"takes {total} bytes, and the cache of packages {self.folder} has room for {free}")
        for name, file in manifest.files.items():
            self._store.fetch(objects[name], folder / name, file.size, lambda: self._is_stopped)
            check_file(folder, name, file.size, file.sha256)
        return total

    def _remove_others(self, packages: Container[PackageKey]) -> None:
        """Remove links to packages that the store does not hold, and files that no link leads to."""
        used = set()
        for of_name in [entry for entry in self.folder.iterdir() if MODEL_NAME.fullmatch(entry.name)]:
            for link in _versions(of_name):
                if PackageKey(of_name.name, int(link.name)) in packages:
                    used.add(link.resolve().name)
                else:
                    link.unlink()
                    log.info("package is no longer in object storage", package=f"{of_name.name}/{link.name}")
            with contextlib.suppress(OSError):  # it has others
                of_name.rmdir()
        with contextlib.suppress(FileNotFoundError):
            for content in (self.folder / CONTENT).iterdir():
                if content.name not in used:
                    shutil.rmtree(content, ignore_errors=True)
        self._known = {key: known for key, known in self._known.items() if key in packages}
        self._failures = {key: failure for key, failure in self._failures.items() if key in packages}

    @contextlib.contextmanager
    def _temporary(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix=FETCHING, dir=self.folder))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # it is not there where it was renamed


def only_model(url: str, cache_dir: Path) -> str | None:
    """The name of the package that a store itself is; None where it holds packages, or cannot be read.

    A store that does not answer, or holds nothing, is what it was before.
    """
    store = Store(url)
    try:
        listing = store.listing()
        if listing.packages:
            return None
        if MANIFEST in listing.root:
            with tempfile.TemporaryDirectory() as folder:
                store.fetch(listing.root[MANIFEST], Path(folder) / MANIFEST, MAX_MANIFEST_BYTES, lambda: False)
                return stated_key(Path(folder)).name
    except PackageError:  # it is said when packages are loaded
        pass
    try:
        name = (_folder(url, cache_dir) / ONLY).read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return name if MODEL_NAME.fullmatch(name) else None


def _folder(url: str, cache_dir: Path) -> Path:
    home = Path(os.path.expanduser(cache_dir))  # noqa: PTH111  (pathlib's raises without a home)
    return home / FOLDER / hashlib.sha256(url.encode()).hexdigest()[:16]


def _versions(of_name: Path) -> list[Path]:
    """The links to the versions of a model."""
    try:
        return [entry for entry in of_name.iterdir() if VERSION.fullmatch(entry.name)]
    except OSError:
        return []


def _is_whole(folder: Path) -> bool:
    """Whether a folder, named by its manifest's hash, holds what that manifest names."""
    try:
        content = read_manifest_bytes(folder)
        if hashlib.sha256(content).hexdigest() != folder.name:
            return False
        for name, file in parse_manifest(content).files.items():
            check_file(folder, name, file.size, file.sha256)
    except PackageError:
        return False
    return True


def _link(link: Path, target: str) -> None:
    """Let a link lead to a target, without a moment in which it leads nowhere."""
    if link.is_symlink() and os.readlink(link) == target:  # noqa: PTH115  (a text, not a path)
        return
    link.parent.mkdir(exist_ok=True)
    temporary = link.parent / f".{link.name}"
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    temporary.replace(link)
