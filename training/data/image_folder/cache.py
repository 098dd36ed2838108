"""Keeps decoded images on the disk, as arrays that are mapped into memory.

    FOLDER/KEY.npy · KEY.json   an array, and what was learnt while it was made; the second is written last
    FOLDER/KEY.lock             held by the process that makes them; others wait, and then read
    FOLDER/.KEY.PID.part        unfinished

A key is a hash of all that the array depends on, so that nothing is ever changed in place. Pages of the file are shared
by all processes that read it, and the system drops them where memory is short.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from training.errors import DataError
from training.files import exclusive, sync_folder, write_atomically
from training.progress import progress

BOUND: Final = "GANYMEDE_IMAGE_CACHE_BYTES"
DEFAULT_BOUND: Final = 20 * 10**9
POLL_S: Final = 0.2
PRIVATE: Final = 0o700

Facts = Mapping[str, Any]


class UnkeptError(Exception):
    """Nothing can be kept; its text is the reason, as the end of a sentence."""


@dataclass(frozen=True)
class Entry:
    """One array.

    Attributes:
        of: what it was made of, for people.
        size: bytes on the disk.
        used_s: when it was last read, as a Unix time.
    """

    key: str
    of: str
    size: int
    used_s: float


def folder() -> Path:
    """Folder of the arrays: `images` below GANYMEDE_CACHE_DIR, else below the user's cache folder."""
    own = os.environ.get("GANYMEDE_CACHE_DIR")
    if own:
        return Path(os.path.expanduser(own), "images")  # noqa: PTH111 - pathlib's raises without a home
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111
    return Path(base, "ganymede", "images")


def bound() -> int:
    """Bytes that all arrays together may take.

    Raises:
        DataError: if the variable is no number of bytes.
    """
    stated = os.environ.get(BOUND) or str(DEFAULT_BOUND)
    if not stated.isascii() or not stated.isdigit():
        raise DataError(f"{BOUND} is {stated} and must be a number of bytes, 0 for no cache of images")
    return int(stated)


def read(key: str) -> tuple[NDArray[np.generic], Facts] | None:
    """Map an array into memory; writing to it changes no file.

    Returns:
        The array and what was stored with it; None if there is none, or it is damaged.
    """
    facts_path, array_path = _paths(key)
    try:
        facts = json.loads(facts_path.read_text(encoding="utf-8"))
        array = np.load(array_path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError):
        return None
    now_ns = time.time_ns()  # finer than the time that the system would take
    with suppress(OSError):
        os.utime(facts_path, ns=(now_ns, now_ns))
    return np.asarray(array), facts


@contextmanager
def building(key: str) -> Iterator[None]:
    """Hold the right to make an array; wait while another process does.

    Raises:
        UnkeptError: if the folder cannot be used.
    """
    place = folder()
    if not place.is_absolute():
        raise UnkeptError("this user has no home folder")
    with ExitStack() as stack:
        try:
            place.mkdir(PRIVATE, parents=True, exist_ok=True)
            lock = place / f"{key}.lock"
            holder = stack.enter_context(exclusive(lock))
            if holder is not None:
                waiting = f"waiting for process {holder}, which reads the same images"
                for _ in progress(_tries(stack, lock), waiting, None, "look"):
                    time.sleep(POLL_S)
            _sweep(place, key)
        except OSError as error:
            raise UnkeptError(f"{place}: {error.strerror}") from error
        yield


def _tries(stack: ExitStack, lock: Path) -> Iterator[None]:
    """Try to get a lock, until it is held."""
    stack.close()
    while stack.enter_context(exclusive(lock)) is not None:
        stack.close()
        yield


class Writer:
    """Writes an array row by row; without `commit` nothing of it is left.

    Args:
        key: whose lock is held.
        shape: of the array, of bytes or of int32.

    Raises:
        UnkeptError: if there is no room.
    """

    def __init__(self, key: str, shape: tuple[int, ...], dtype: type[np.uint8 | np.int32]) -> None:
        self._key, self._needed = key, math.prod(shape) * np.dtype(dtype).itemsize
        _make_room(self._needed)
        self._path = folder() / f".{key}.{os.getpid()}.part"
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
        try:
            self._file = cast("BinaryIO", self._path.open("wb"))
            np.lib.format.write_array_header_1_0(self._file, header)
            self._file.flush()
            os.posix_fallocate(self._file.fileno(), 0, self._file.tell() + self._needed)  # a full disk is found now
        except OSError as error:
            self._give_up()
            raise UnkeptError(f"{self._path.parent}: {error.strerror}") from error

    def __enter__(self) -> "Writer":
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what is not complete."""
        self._give_up()

    def write(self, rows: NDArray[np.generic]) -> None:
        """Write the next rows.

        Raises:
            UnkeptError: if the disk refuses.
        """
        try:
            self._file.write(np.ascontiguousarray(rows).data)
        except OSError as error:
            raise UnkeptError(f"{self._path.parent}: {error.strerror}") from error

    def commit(self, facts: Facts) -> tuple[NDArray[np.generic], Facts]:
        """Complete the array and what is stored with it.

        Returns:
            As `read`.

        Raises:
            UnkeptError: if the disk refuses.
        """
        facts_path, array_path = _paths(self._key)
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._path.replace(array_path)
            sync_folder(array_path.parent)
            write_atomically(facts_path, json.dumps(facts).encode())
        except OSError as error:
            raise UnkeptError(f"{self._path.parent}: {error.strerror}") from error
        found = read(self._key)
        if found is None:
            raise UnkeptError(f"{array_path} was removed")
        return found

    def _give_up(self) -> None:
        with suppress(AttributeError, OSError):
            self._file.close()
        self._path.unlink(missing_ok=True)


def entries() -> list[Entry]:
    """List the arrays, the one not used for longest first."""
    found = []
    for facts_path in folder().glob("*.json"):
        with suppress(OSError, ValueError):
            facts = json.loads(facts_path.read_text(encoding="utf-8"))
            array, told = facts_path.with_suffix(".npy").stat(), facts_path.stat()
            found.append(Entry(facts_path.stem, str(facts["of"]), array.st_size + told.st_size, told.st_mtime))
    return sorted(found, key=lambda entry: (entry.used_s, entry.key))


def clear() -> None:
    """Remove all arrays; processes that have them in memory keep them.

    Raises:
        DataError: if a file cannot be removed.
    """
    place = folder()
    try:
        for path in [*place.glob("*.json"), *place.glob("*.npy")]:
            path.unlink(missing_ok=True)
        _sweep(place)
    except OSError as error:
        raise DataError(f"cannot remove {error.filename}: {error.strerror}") from error


def _paths(key: str) -> tuple[Path, Path]:
    return folder() / f"{key}.json", folder() / f"{key}.npy"


def _make_room(needed: int) -> None:
    """Remove arrays that have not been used for longest, until another one fits.

    Raises:
        UnkeptError: if it would not fit into an empty cache.
    """
    most = bound()
    if needed > most:
        raise UnkeptError(f"{needed / 10**9:,.1f} GB are more than {BOUND} allows, {most / 10**9:,.1f}")
    there = entries()
    total, free = sum(entry.size for entry in there), shutil.disk_usage(folder()).free
    if needed > free + total:
        raise UnkeptError(f"{folder()}: {needed / 10**9:,.1f} GB are needed, and {free / 10**9:,.1f} GB free")
    for entry in there:
        if total + needed <= most and needed <= free:
            return
        for path in _paths(entry.key):
            path.unlink(missing_ok=True)
        total, free = total - entry.size, free + entry.size


def _sweep(place: Path, own: str = "") -> None:
    """Remove what processes have left that were ended while they made an array.

    Args:
        own: key whose lock is held.
    """
    halves = [path for path in place.glob("*.npy") if not path.with_suffix(".json").exists()]
    for path in [*place.glob(".*.part"), *halves]:
        key = path.name.lstrip(".").split(".")[0]
        with nullcontext() if key == own else exclusive(place / f"{key}.lock") as holder:
            if holder is None:
                path.unlink(missing_ok=True)
