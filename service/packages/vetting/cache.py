"""Remembers on disk which graphs passed vetting, so that the next start does not vet them again.

    CACHE_DIR/vetted/SHA-256 of all that a verdict depends on      an empty file: the graph passed

A verdict depends on the graph's bytes, what its manifest states of them, the code that judges (the service's own, and
the libraries below it) and the limits of the child; if any of them changes, the graph is vetted anew. Refusals are not
remembered.

A user who could write here could make any graph pass. So the folder and every file in it must belong to this user and
be writable by no other, which is checked on the opened file and not by name. A folder that fails the check is not
used; the service then only starts more slowly.
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
from service.packages.files import is_private
from service.packages.vetting.parent import VettingLimits

FOLDER = "vetted"
PRIVATE_FOLDER_MODE = 0o700
PRIVATE_FILE_MODE = 0o600

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class VettingCache:
    """Remembers what passed.

    Args:
        cache_dir: `~` is this user's home; created where it is missing.
        limits: of the child that vets.
    """

    def __init__(self, cache_dir: Path, limits: VettingLimits) -> None:
        self._folder = Path(os.path.expanduser(cache_dir), FOLDER)  # noqa: PTH111  (pathlib's raises without a home)
        self._limits = limits

    def passed(self, identities: frozenset[str]) -> frozenset[str]:
        """Which of these passed before; an identity stands for a graph's bytes and what is stated of them."""
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
            if not is_private(os.fstat(folder)):
                raise PermissionError(0, "others may write there")
            yield folder
        finally:
            os.close(folder)

    def _name(self, identity: str) -> str:
        return hashlib.sha256(f"{identity}\n{self._limits}\n{_code_hash()}".encode()).hexdigest()


def _is_ours(name: str, folder: int) -> bool:
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(found.st_mode) and is_private(found)


@cache
def _code_hash() -> str:
    """Hash of the code that judges: the service's own, and the versions of the libraries that it uses."""
    versions = sys.version, np.__version__, onnxruntime.__version__, importlib.metadata.version("onnx")
    seen = hashlib.sha256("\n".join(versions).encode())
    for module in sorted(Path(service.__path__[0]).rglob("*.py")):
        seen.update(module.read_bytes())
    return seen.hexdigest()
