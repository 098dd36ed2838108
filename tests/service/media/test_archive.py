"""The archive is read by the standard library, by Info-ZIP, and by a reader that never seeks."""

import io
import shutil
import struct
import subprocess
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.media.archive import ZipStream

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\0", exclude_categories=["Cc", "Cs"]), min_size=1)

MORE_THAN_16_BITS = 2**16 + 5  # entries: the directory's own counter ends at 65,535


def archive_of(entries: Mapping[str, bytes]) -> bytes:
    stream = ZipStream()
    return b"".join([*(stream.entry(name, content) for name, content in entries.items()), stream.end()])


@given(st.dictionaries(NAMES, st.binary(max_size=100), max_size=8))
def test_the_standard_library_reads_every_entry_in_order(entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(io.BytesIO(archive_of(entries))) as archive:
        assert archive.testzip() is None
        assert [(info.filename, archive.read(info)) for info in archive.infolist()] == list(entries.items())


@pytest.mark.skipif(shutil.which("unzip") is None, reason="Info-ZIP's unzip is not installed")
@pytest.mark.parametrize("count", [1, 100, MORE_THAN_16_BITS])
def test_unzip_finds_no_fault(tmp_path: Path, count: int) -> None:
    path = tmp_path / "samples.zip"
    path.write_bytes(archive_of({f"{seed}.png": bytes([seed % 256]) for seed in range(count)}))
    finished = subprocess.run(["unzip", "-tq", path], capture_output=True, text=True, check=False)
    assert "No errors detected" in finished.stdout, finished.stdout[-1000:] + finished.stderr
    assert finished.returncode == 0


def test_each_piece_is_a_whole_entry_that_a_reader_without_seeking_can_take() -> None:
    stream = ZipStream()
    for content in (b"first", b""):
        piece = stream.entry("name", content)
        signature, flags, method, checksum, packed, size, name_bytes = struct.unpack_from("<4s2xHH4xIIIH", piece)
        assert (signature, method, name_bytes) == (b"PK\3\4", 0, len(b"name"))
        assert not flags & 1 << 3, "sizes stand before the entry, not in a descriptor behind it"
        assert (checksum, packed, size) == (zlib.crc32(content), len(content), len(content))
        assert piece.endswith(b"name" + content)


def test_equal_entries_give_equal_archives_dated_1980() -> None:
    content = archive_of({"1.png": b"x"})
    assert content == archive_of({"1.png": b"x"})
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.infolist()[0].date_time == (1980, 1, 1, 0, 0, 0)


def test_more_entries_than_sixteen_bits_can_count_are_all_listed_in_a_directory_that_is_where_it_says() -> None:
    content = archive_of({str(seed): b"" for seed in range(MORE_THAN_16_BITS)})
    signature, record = struct.unpack("<4s4xQ4x", content[-42:-22])  # before the last record, of 22 bytes
    assert signature == b"PK\6\7"
    assert content[record : record + 4] == b"PK\6\6"
    entries, size, start = struct.unpack_from("<QQQ", content, record + 32)
    assert (entries, start + size) == (MORE_THAN_16_BITS, record)
    assert content[start : start + 4] == b"PK\1\2"


class FarFile(io.RawIOBase):
    """A file whose first bytes, never stored, read as zeros: what lies behind 4 GiB can be read without having them."""

    def __init__(self, gap: int, tail: bytes) -> None:
        self._gap, self._tail, self._at = gap, tail, 0

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._gap + len(self._tail)}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        start = self._at - self._gap
        found = self._tail[start:] if size < 0 else self._tail[start : start + size]
        self._at += len(found)
        return found


@pytest.mark.slow
def test_an_entry_behind_four_gibibytes_is_found() -> None:
    stream = ZipStream()
    block = bytes(2**26)
    gap = sum(len(stream.entry(str(number), block)) for number in range(2**32 // len(block)))
    tail = stream.entry("far", b"here") + stream.end()
    with zipfile.ZipFile(FarFile(gap, tail)) as archive:
        assert archive.read("far") == b"here"


def test_an_entry_too_large_for_its_size_field_is_refused() -> None:
    class Huge(bytes):
        def __len__(self) -> int:
            return 2**32

    with pytest.raises(ValueError, match="below 4 GiB"):
        ZipStream().entry("huge", Huge())
