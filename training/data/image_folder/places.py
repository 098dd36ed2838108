"""Reads files where they lie: in a folder, a ZIP archive or a tar archive, of which nothing is unpacked."""

import io
import os
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from training.data.image_folder.image_files import UnreadableError

WHOLE = -1  # size of a place that is a file of its own
LARGEST_FILE = 1 << 30  # bytes of one image: more than any within Pillow's limit of pixels


class Place(NamedTuple):
    """Where a file's bytes are.

    Attributes:
        file: path of the file, or of the archive that it is in.
        member: its name in a ZIP archive, else empty.
        offset: in a tar archive, of its first byte.
        size: in a tar archive, bytes; -1 elsewhere.
    """

    file: str
    member: str = ""
    offset: int = 0
    size: int = WHOLE


class Reader:
    """Reads places; keeps the ZIP archives open that it has read from."""

    def __init__(self) -> None:
        self._archives: dict[str, zipfile.ZipFile] = {}

    @contextmanager
    def open(self, place: Place) -> Iterator[BinaryIO]:
        """Open a file for reading; only what is asked for is read.

        Yields:
            The file, which can be sought in.

        Raises:
            UnreadableError: if it cannot be read.
        """
        try:
            if place.member:
                with self._archive(place.file).open(place.member) as file:
                    yield file  # type: ignore[misc]  # IO[bytes], whose read-only part is BinaryIO's
            elif place.size == WHOLE:
                with open(place.file, "rb") as file:  # noqa: PTH123 - a name that need not be UTF-8
                    yield file
            else:
                with open(place.file, "rb", buffering=0) as archive:  # noqa: PTH123
                    yield io.BufferedReader(_Window(archive, place.offset, place.size))
        except (zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise UnreadableError(f"is damaged: {error}") from error
        except (NotImplementedError, RuntimeError) as error:  # of zipfile: a compression or an encryption it lacks
            raise UnreadableError(f"cannot be read: {error}") from error
        except OSError as error:
            raise UnreadableError(f"cannot be read: {error.strerror or error}") from error

    def read(self, place: Place) -> bytes:
        """Read a whole file.

        Raises:
            UnreadableError: if it cannot be read, or is too large for an image.
        """
        with self.open(place) as file:
            content = file.read(LARGEST_FILE + 1)
        if len(content) > LARGEST_FILE:
            raise UnreadableError(f"has more than {LARGEST_FILE >> 20:,} MiB")
        return content

    def _archive(self, path: str) -> zipfile.ZipFile:
        if path not in self._archives:
            self._archives[path] = zipfile.ZipFile(path)
        return self._archives[path]


class _Window(io.RawIOBase):
    """A part of a file as a file."""

    def __init__(self, file: io.FileIO, offset: int, size: int) -> None:
        self._file, self._offset, self._size, self._at = file, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: "bytearray | memoryview") -> int:  # type: ignore[override]  # of any writable buffer
        wanted = min(len(buffer), max(0, self._size - self._at))
        content = os.pread(self._file.fileno(), wanted, self._offset + self._at)
        buffer[: len(content)] = content
        self._at += len(content)
        return len(content)
