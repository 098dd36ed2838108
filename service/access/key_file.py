"""The file of keys, read again whenever it changes, and the command that adds a key to it.

    looked at once a second ──changed──▶ read ──valid──▶ the keys from now on
                                           └─not valid──▶ one error in the log; those of before go on

A change is seen by time, size and inode. A file that was written within the last seconds is read at each look, since
two changes within one tick of the file system's clock have one time.
"""

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import structlog

from service.access.keys import MOST_BYTES, Entry, Keys, KeysRefused, check_name, digest_of, new_key, read_keys

# A key that is revoked is refused so long after the file was written, at the latest.
LOOK_S: Final = 1.0
# Coarser than the clock of any file system in use.
SETTLED_NS: Final = 3_000_000_000
# Hashes lead to no key, and the service is another user than its operator; no one else may write.
READABLE: Final = 0o644

_Stamp = tuple[int, int, int]

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class KeyFile:
    """A file of keys that may change at any time.

    Args:
        path: of the file.

    Attributes:
        keys: those of its last valid content; none before it was read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: _Stamp | None = None
        self._content: bytes | None = None
        self._refused: str | None = None
        self.keys = Keys()

    def read(self) -> None:
        """Read the file.

        Raises:
            KeysRefused: it cannot be read, or is not valid; the keys of before stay.
        """
        self._stamp = None
        try:
            found = self._path.stat()
            with self._path.open("rb") as file:
                content = file.read(MOST_BYTES + 1)
        except OSError as error:
            raise KeysRefused(error.strerror or str(error)) from None
        if content != self._content:
            keys = read_keys(content)
            self.keys, self._content = keys, content
        if time.time_ns() - found.st_mtime_ns > SETTLED_NS:
            self._stamp = _stamp(found)

    def look(self) -> None:
        """Read the file if it has changed, and log what came of it: each outcome once."""
        with suppress(OSError):
            if self._stamp is not None and self._stamp == _stamp(self._path.stat()):
                return
        before, was_refused = self.keys, self._refused
        try:
            self.read()
        except KeysRefused as refused:
            self._refused = str(refused)
            if self._refused != was_refused:
                logger.error("keys cannot be read", file=str(self._path), reason=self._refused, in_use=len(self.keys))  # noqa: TRY400
        else:
            self._refused = None
            if self.keys is not before or was_refused is not None:
                logger.info("keys read", keys=len(self.keys))

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at the file now, and once a second to the end of the block."""
        self.look()
        watching = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await asyncio.to_thread(self.look)  # a file system may be slow, or gone


def make_key(name: str, entry: Entry, path: Path | None) -> tuple[str, str]:
    """Make a key.

    Args:
        name: of the key.
        entry: what it is granted; its hash is that of the new key.
        path: of a file that the entry is appended to; made where there is none.

    Returns:
        The key, which is kept nowhere, and the lines of its entry.

    Raises:
        KeysRefused: the name or the entry is not valid, the file is not, or it has the name.
        OSError: the file cannot be written.
    """
    check_name(name)
    key = new_key()
    lines = entry.model_copy(update={"sha256": digest_of(key)}).lines(name)
    read_keys(lines.encode())
    if path is not None:
        _append(path, name, lines)
    return key, lines


def _append(path: Path, name: str, lines: str) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, READABLE)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)  # another of this command at the same time
        content = path.read_bytes()
        if content.strip():
            if name in read_keys(content).by_name:
                raise KeysRefused(f"{path} has a key called {name}; remove its table first, or choose another name")
            lines = ("\n" if content.endswith(b"\n") else "\n\n") + lines
        read_keys(content + lines.encode())
        written = lines.encode()
        if os.write(file, written) < len(written):  # at once, so that no reader sees a part of it
            os.ftruncate(file, len(content))
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)


def _stamp(found: os.stat_result) -> _Stamp:
    return found.st_mtime_ns, found.st_size, found.st_ino
