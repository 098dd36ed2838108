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
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise FileDamaged(f"{name}: not a plain file")
            if found.st_size > max_bytes:
                raise FileDamaged(f"{name}: {found.st_size} bytes; at most {max_bytes} are read")
            return file.read(max_bytes)
    except FileNotFoundError as error:
        raise FileDamaged(f"{name}: the file is missing") from error
    except OSError as error:  # a link (ELOOP), a folder, no permission, a failing disk
        raise FileDamaged(f"{name}: not a plain file that can be read ({error.strerror})") from error


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
    content = read_file(folder, name, max_bytes=size)
    if len(content) != size:
        raise FileDamaged(f"{name}: {size} bytes expected, {len(content)} found")
    found = hashlib.sha256(content).hexdigest()
    if found != sha256:
        raise FileDamaged(f"{name}: SHA-256 {sha256} expected, {found} found")
    return content
