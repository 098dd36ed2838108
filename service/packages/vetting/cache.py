"""What passed the vetting, remembered on disk, so that the next start need not find it out again.

    cache folder/vetted/SHA-256 of all that a verdict depends on      an empty file: it passed

A verdict depends on the graph's bytes and what its manifest states of them, on who judges (this service's own code,
the libraries below it) and on what the judge may use; change any, and the graph is vetted anew. Only what passed is
remembered.

Whoever could write here could have any graph pass. So the folder and every file in it must belong to this user and be
writable by nobody else, which is asked of what was opened and not of its name; a folder that is not so is not used,
and the service only starts more slowly.
"""

import hashlib
import importlib.metadata
import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import structlog

import service
from service.packages.vetting.parent import VettingLimits

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
FOLDER = "vetted"
PRIVATE_FOLDER_MODE = 0o700
PRIVATE_FILE_MODE = 0o600

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class VettingCache:
    """Remembers what passed.

    Args:
        cache_dir: where, `~` being this user's home; made where it is missing.
        limits: what the judge may use.
    """

    def __init__(self, cache_dir: Path, limits: VettingLimits) -> None:
        self._folder = Path(os.path.expanduser(cache_dir), FOLDER)  # noqa: PTH111  (pathlib's raises without a home)
        self._limits = limits

    def passed(self, identities: frozenset[str]) -> frozenset[str]:
        """Answer which of these passed before.

        Args:
            identities: each of a graph's bytes and what is stated of them.
        """
        with suppress(OSError), self._opened() as folder:
            return frozenset(identity for identity in identities if _is_ours(self._name(identity), folder))
        return frozenset()

    def note(self, identities: frozenset[str]) -> None:
        """Remember that these passed."""
        if not self._folder.is_absolute():
            return  # this user has no home, as in some containers
        try:
            self._folder.mkdir(PRIVATE_FOLDER_MODE, parents=True, exist_ok=True)
            with self._opened() as folder:
                for identity in identities:
                    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW
                    os.close(os.open(self._name(identity), flags, PRIVATE_FILE_MODE, dir_fd=folder))
        except OSError as error:
            log.info("vetting is not remembered", folder=str(self._folder), reason=error.strerror)

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """Open the folder, if it is private.

        Raises:
            OSError: it is not, or is not there.
        """
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not _is_private(os.fstat(folder)):
                raise PermissionError(0, "others may write there")
            yield folder
        finally:
            os.close(folder)

    def _name(self, identity: str) -> str:
        return hashlib.sha256(f"{identity}\n{self._limits}\n{_judge()}".encode()).hexdigest()


def _is_ours(name: str, folder: int) -> bool:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and _is_private(found)


def _is_private(found: os.stat_result) -> bool:
    return found.st_uid == os.geteuid() and not found.st_mode & OTHERS_MAY_WRITE


@cache
def _judge() -> str:
    """What identifies the judge: our own code, and the versions of all that it looks and runs with."""
    versions = sys.version, np.__version__, onnxruntime.__version__, importlib.metadata.version("onnx")
    seen = hashlib.sha256("\n".join(versions).encode())
    for module in sorted(Path(service.__path__[0]).rglob("*.py")):
        seen.update(module.read_bytes())
    return seen.hexdigest()
