"""A ZIP archive as a stream: each entry can be sent before the next one is made.

Only the directory at the end is kept in memory, about 60 bytes an entry. Entries are stored without compression, since
PNGs are compressed already. Sizes are written *before* each entry, not in a descriptor after it, because streaming
readers (Java's, bsdtar's) cannot find the end of a stored entry otherwise; the standard library's `zipfile` writes
descriptors when it cannot seek, and is not used for that reason. Every timestamp is the format's first instant, so that
equal samples give equal archives.

    entry("0.png", …) ─▶ header, content     entry("1.png", …) ─▶ header, content     end() ─▶ directory

References:
    PKWARE, .ZIP File Format Specification (APPNOTE.TXT) 6.3.10: §4.3.7, §4.3.12, §4.3.14–16, §4.5.3.
"""

import struct
import zlib

VERSION_NEEDED = 20  # 2.0
VERSION_NEEDED_ZIP64 = 45  # 4.5, the first with 64-bit offsets
MADE_BY_UNIX = 3 << 8  # upper byte: whose file attributes follow
UNIX_ATTRIBUTES = 0o100644 << 16  # a regular file, readable by all
UTF8_NAMES = 1 << 11
MIDNIGHT = 0
FIRST_DAY = (0 << 9) | (1 << 5) | 1  # 1980-01-01, the first that the format can say
MAX_16_BIT = 0xFFFF
MAX_32_BIT = 0xFFFF_FFFF
ZIP64_FIELD_ID = 0x0001
ZIP64_END_BODY_BYTES = 44  # of the ZIP64 end record, without its first two fields

LOCAL_HEADER = struct.Struct("<4s5H3I2H")
DIRECTORY_HEADER = struct.Struct("<4s6H3I5H2I")
ZIP64_OFFSET = struct.Struct("<2HQ")
ZIP64_END = struct.Struct("<4sQ2H2I4Q")
ZIP64_LOCATOR = struct.Struct("<4sIQI")
END = struct.Struct("<4s4H2IH")


class ZipStream:
    """Writes one archive; the caller sends each returned piece in order."""

    def __init__(self) -> None:
        self._directory = bytearray()
        self._entries = 0
        self._offset = 0

    def entry(self, name: str, content: bytes) -> bytes:
        """The archive's next bytes: one file.

        Args:
            name: its path inside the archive, each at most once.
            content: below 4 GiB.

        Raises:
            ValueError: the content is larger than an entry without ZIP64 sizes can be.
        """
        if len(content) >= MAX_32_BIT:
            raise ValueError(f"entry {name!r} has {len(content)} bytes; an entry must stay below 4 GiB")
        encoded = name.encode()
        checksum, size = zlib.crc32(content), len(content)
        far = self._offset >= MAX_32_BIT
        version = VERSION_NEEDED_ZIP64 if far else VERSION_NEEDED
        extra = ZIP64_OFFSET.pack(ZIP64_FIELD_ID, 8, self._offset) if far else b""
        described = (UTF8_NAMES, 0, MIDNIGHT, FIRST_DAY, checksum, size, size, len(encoded))
        self._directory += DIRECTORY_HEADER.pack(
            b"PK\1\2",
            MADE_BY_UNIX | version,
            version,
            *described,
            len(extra),
            0,
            0,
            0,
            UNIX_ATTRIBUTES,
            min(self._offset, MAX_32_BIT),
        )
        self._directory += encoded + extra
        piece = LOCAL_HEADER.pack(b"PK\3\4", VERSION_NEEDED, *described, 0) + encoded + content
        self._entries += 1
        self._offset += len(piece)
        return piece

    def end(self) -> bytes:
        """The directory, which completes the archive."""
        start, size, entries = self._offset, len(self._directory), self._entries
        zip64 = b""
        if entries >= MAX_16_BIT or start >= MAX_32_BIT or size >= MAX_32_BIT:
            zip64 = ZIP64_END.pack(
                b"PK\6\6",
                ZIP64_END_BODY_BYTES,
                MADE_BY_UNIX | VERSION_NEEDED_ZIP64,
                VERSION_NEEDED_ZIP64,
                0,
                0,
                entries,
                entries,
                size,
                start,
            ) + ZIP64_LOCATOR.pack(b"PK\6\7", 0, start + size, 1)
        entries_16 = min(entries, MAX_16_BIT)
        end = END.pack(b"PK\5\6", 0, 0, entries_16, entries_16, min(size, MAX_32_BIT), min(start, MAX_32_BIT), 0)
        return bytes(self._directory) + zip64 + end
