"""Atomic replacement of files, and locks between processes.

After a write the file is the old one or the new one, never a part, wherever the process stops.
"""

import contextlib
import fcntl
import glob
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ABANDONED_S: Final = 3_600.0  # a part that was not written to for so long belongs to no living process


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file by a temporary sibling that is complete and on the disk first.

    Several processes may replace the same file: each writes a sibling of its own, and the last one stays. What a killed
    process left of one is removed later.

    Args:
        path: the file; its folder exists.

    Raises:
        OSError: as from the system; then the former file, if any, is untouched and nothing else is left behind.
    """
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(FileNotFoundError):  # its writer, or another one of us, was faster
            if time.time() - part.stat().st_mtime > ABANDONED_S:
                part.unlink()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextlib.contextmanager
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
