"""Reads a package's files: each is opened once and checked, and the bytes that were hashed are the bytes that are used.

Only plain files of the folder itself are read: no links, pipes or devices, whatever they point to.
"""

import hashlib
import os
import stat
from pathlib import Path

from service.errors import FileDamaged

MANIFEST = "manifest.json"
# A link could point outside the folder; a pipe would block without O_NONBLOCK.
CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK
# Larger files are hashed before they are held in memory.
AT_ONCE_BYTES = 16 * 1024 * 1024
OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH


def is_private(found: os.stat_result) -> bool:
    """Whether a file or folder is this user's, and no other user may write it."""
    return found.st_uid == os.geteuid() and not found.st_mode & OTHERS_MAY_WRITE


def read_file(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read one plain file of a package, by its bare name.

    Raises:
        FileDamaged: it is missing, not a plain file, larger than `max_bytes`, or unreadable.
    """
    try:
        with open(folder / name, "rb", opener=_open_without_following) as file:
            _check_plain(file.fileno(), name)
            length = os.fstat(file.fileno()).st_size
            if length > max_bytes:
                raise FileDamaged(f"{name}: {length} bytes; at most {max_bytes} are read")
            return file.read(max_bytes)
    except OSError as error:
        raise _unreadable(name, error) from error


def _open_without_following(path: str, flags: int) -> int:
    return os.open(path, flags | CAREFUL)


def read_verified(folder: Path, name: str, size: int, sha256: str) -> bytes:
    """Read one file of a package and check its stated size, in bytes, and SHA-256, in lower-case hexadecimal.

    Raises:
        FileDamaged: the file cannot be read, or differs; the message says what was expected and what was found.
    """
    try:
        with open(folder / name, "rb", opener=_open_without_following) as file:
            _check_plain(file.fileno(), name)
            length = os.fstat(file.fileno()).st_size
            if length != size:
                raise FileDamaged(f"{name}: {size} bytes expected, {length} found")
            # A large file is held in memory only after its hash is right: a sparse one costs its writer nothing.
            if size > AT_ONCE_BYTES:
                _check_hash(hashlib.file_digest(file, "sha256").hexdigest(), sha256, name)
                file.seek(0)
            content = file.read(size)
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(content) != size:  # it was truncated after the check
        raise FileDamaged(f"{name}: {size} bytes expected, {len(content)} found")
    _check_hash(hashlib.sha256(content).hexdigest(), sha256, name)
    return content


def check_file(folder: Path, name: str, size: int, sha256: str) -> None:
    """As `read_verified`, without holding the content.

    Raises:
        FileDamaged: as there.
    """
    try:
        with open(folder / name, "rb", opener=_open_without_following) as file:
            _check_plain(file.fileno(), name)
            length = os.fstat(file.fileno()).st_size
            if length != size:
                raise FileDamaged(f"{name}: {size} bytes expected, {length} found")
            _check_hash(hashlib.file_digest(file, "sha256").hexdigest(), sha256, name)
    except OSError as error:
        raise _unreadable(name, error) from error


def _check_plain(file: int, name: str) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise FileDamaged(f"{name}: not a plain file")


def _check_hash(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise FileDamaged(f"{name}: SHA-256 {expected} expected, {found} found")


def _unreadable(name: str, error: OSError) -> FileDamaged:
    if isinstance(error, FileNotFoundError):
        return FileDamaged(f"{name}: the file is missing")
    # a link (ELOOP), a folder, no permission, a failing disk
    return FileDamaged(f"{name}: not a plain file that can be read ({error.strerror})")
