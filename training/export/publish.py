"""Publishes files as `models/NAME/VERSION/`, all at once or not at all.

    models/.NAME-VERSION-xxxxxxxx/    written and synced here, where no reader looks
    models/NAME/VERSION/              by one rename

A package is immutable: a version that exists is never written again. A killed process leaves at most a hidden folder,
which no reader opens and which may be deleted.
"""

import errno
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from training.errors import ExportError
from training.files import sync_folder, write_atomically

NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")  # of the format
# `mkdtemp` makes folders that only their owner can read, but the service usually has another user.
FOLDER_MODE: Final = 0o755


def choose_version(models_dir: Path, name: str, version: int | None) -> int:
    """Choose the version of an export, before any work is done for it.

    Args:
        version: the wanted one; None takes the one after the newest.

    Returns:
        A version that does not exist yet.

    Raises:
        ExportError: if the name or the version is invalid, or the version exists.
    """
    if not NAME_PATTERN.fullmatch(name):
        raise ExportError(
            f'"{name}" cannot name a package; names are 1 to 64 of a-z, 0-9, - and _, a letter or digit first'
        )
    if version is None:
        folder = models_dir / name
        taken = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else []
        return max(taken, default=0) + 1
    if version < 1:
        raise ExportError(f"{version} cannot be a version; versions are integers from 1")
    if (models_dir / name / str(version)).exists():
        raise ExportError(
            f"{models_dir / name / str(version)} exists, and a package never changes; choose another version"
        )
    return version


def publish(files: Mapping[str, bytes], models_dir: Path, name: str, version: int) -> Path:
    """Write a package.

    Args:
        models_dir: folder of packages; made if missing.

    Returns:
        The package's folder, complete and on the disk.

    Raises:
        ExportError: if it cannot be written, or the version has been published since; nothing is left behind.
    """
    target = models_dir / name / str(version)
    temporary: Path | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-{version}-", dir=models_dir))
        for file, content in files.items():
            write_atomically(temporary / file, content)
        temporary.chmod(FOLDER_MODE)
        temporary.rename(target)
    except OSError as error:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise ExportError(
                f"{target} came into being meanwhile, and a package never changes; export again"
            ) from error
        raise ExportError(f"cannot write {target}: {error.strerror}") from error
    sync_folder(target.parent)
    sync_folder(models_dir)
    return target
