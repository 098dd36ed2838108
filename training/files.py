"""Atomic replacement of files, and locks between processes.

After a write the file is the old one or the new one, never a part, wherever the process stops.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by a temporary sibling that is complete and on the disk first.

    Args:
        path: the file; its folder exists.

    Raises:
        OSError: as from the system; then the former file, if any, is untouched and nothing else is left behind.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def exclusive(path: Path) -> Iterator[str | None]:
    """Hold a lock that is released when the process ends, even by a signal.

    Args:
        path: of the lock's file, which is made, names the process that holds it, and stays.

    Yields:
        None if the lock was free; else the number of the process that holds it, as it wrote it down.
    """
    with path.open("a+", encoding="ascii", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            yield file.read().strip() or "unknown"
        else:
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
            yield None


def sync_folder(folder: Path) -> None:
    """Make the rename itself survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
