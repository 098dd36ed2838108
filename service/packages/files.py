"""The bytes of a package: each file is opened once, checked, and never looked at again.

What was hashed is what is used, so nobody can change a file between the check and the use. Only plain files of the
folder itself are read: no links, pipes or devices, whatever they point to. It knows names, sizes and hashes, and
nothing of what the bytes mean.
"""

import hashlib
import os
import stat
from pathlib import Path

from service.errors import FileDamaged

MANIFEST = "manifest.json"
# A link would be read from wherever it points to; a pipe would block without O_NONBLOCK.
CAREFUL = os.O_NOFOLLOW | os.O_NONBLOCK

AT_ONCE_BYTES = 16 * 1024 * 1024


def read_file(folder: Path, name: str, max_bytes: int) -> bytes:
    """Read one plain file of a package.

    Args:
        folder: the package's folder.
        name: the file's bare name.
        max_bytes: most bytes to read.

    Returns:
        The whole content.

    Raises:
        FileDamaged: it is missing, not a plain file, larger than `max_bytes`, or unreadable.
    """
    try:
        with open(folder / name, "rb", opener=_open_without_following) as file:
            _hold_plain(file.fileno(), name)
            length = os.fstat(file.fileno()).st_size
            if length > max_bytes:
                raise FileDamaged(f"{name}: {length} bytes; at most {max_bytes} are read")
            return file.read(max_bytes)
    except OSError as error:
        raise _unreadable(name, error) from error


def _open_without_following(path: str, flags: int) -> int:
    return os.open(path, flags | CAREFUL)


def read_verified(folder: Path, name: str, size: int, sha256: str) -> bytes:
    """Read one file and hold it to its stated size and hash.

    Args:
        folder: the package's folder.
        name: the file's bare name.
        size: its stated size in bytes.
        sha256: its stated SHA-256, in lower-case hexadecimal.

    Returns:
        The content, whose hash is `sha256`.

    Raises:
        FileDamaged: the file cannot be read, or differs; the message says what was expected and what was found.
    """
    try:
        with open(folder / name, "rb", opener=_open_without_following) as file:
            _hold_plain(file.fileno(), name)
            length = os.fstat(file.fileno()).st_size
            if length != size:
                raise FileDamaged(f"{name}: {size} bytes expected, {length} found")
            # A large file is held in memory only if it is what it should be: a sparse one costs its writer nothing.
            if size > AT_ONCE_BYTES:
                _hold_hash(hashlib.file_digest(file, "sha256").hexdigest(), sha256, name)
                file.seek(0)
            content = file.read(size)
    except OSError as error:
        raise _unreadable(name, error) from error
    if len(content) != size:  # it was cut off meanwhile
        raise FileDamaged(f"{name}: {size} bytes expected, {len(content)} found")
    _hold_hash(hashlib.sha256(content).hexdigest(), sha256, name)
    return content


def _hold_plain(file: int, name: str) -> None:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        raise FileDamaged(f"{name}: not a plain file")


def _hold_hash(found: str, expected: str, name: str) -> None:
    if found != expected:
        raise FileDamaged(f"{name}: SHA-256 {expected} expected, {found} found")


def _unreadable(name: str, error: OSError) -> FileDamaged:
    if isinstance(error, FileNotFoundError):
        return FileDamaged(f"{name}: the file is missing")
    # a link (ELOOP), a folder, no permission, a failing disk
    return FileDamaged(f"{name}: not a plain file that can be read ({error.strerror})")
