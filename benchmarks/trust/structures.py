"""Mutations that keep a format's frame whole: lengths and check sums are repaired, so that what is inside is read.

PNG chunks, RIFF chunks (WebP), JPEG segments, NPY headers, JSON values, protobuf fields (ONNX), ZIP entries, and the
heads of requests with the length of what follows.

References:
    RFC 2083 (PNG), §3; RIFF container of WebP; ITU T.81 (JPEG), B.1; NEP 1 (NPY); protobuf's wire format; PKWARE's
    APPNOTE (ZIP).
"""

import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, Final

from benchmarks.trust.inputs import NUMBERS, OF_BYTES, Mutation

PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
PNG_KINDS: Final = (
    b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"iCCP", b"zTXt", b"iTXt", b"tEXt", b"eXIf", b"acTL", b"fcTL",
    b"fdAT",
)  # fmt: skip
RIFF_KINDS: Final = (b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"XMP ", b"ICCP")
BOMB: Final = zlib.compress(bytes(4 * 2**20), 9)
NPY_MAGIC: Final = b"\x93NUMPY"
NPY_TYPES: Final = ("|u1", "<f4", "<i8", "<f2", ">f4", "|O", "<U9", "|V8", "[('a', '<f4')]")
HEAD_END: Final = b"\r\n\r\n"
LENGTH: Final = re.compile(rb"(?im)^(content-length: *)\d+")
JSON_LENGTH: Final = re.compile(rb"(?im)^(inference-header-content-length: *)(\d+)")
# Mutations of one part before the frame is closed again.
Part = tuple[bytes, bytes]
VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), 0.5, -0.0, 1e38, 1e39, 1e308, "", "0",
    "0-15,99", "9-1", "0-99999999999", "x" * 300, "\0", "\ud800", "é", [], {}, [[]], [{}], [0] * 300, ["x"] * 300,
    [[0.5] * 24] * 3, {"a": {"b": {"c": {}}}}, {str(key): 0 for key in range(300)},
)  # fmt: skip


def mutate_bytes(chance: random.Random, content: bytes) -> bytes:
    """Apply one mutation of bytes."""
    return chance.choice(OF_BYTES)(chance, content, (content,))


def _mutate_parts(chance: random.Random, parts: list[Part], kinds: Sequence[bytes]) -> list[Part]:
    """Change, remove, repeat, move or add a part (kind, content)."""
    place = chance.randrange(len(parts)) if parts else 0
    match chance.randrange(6):
        case 0 if parts:
            kind, content = parts[place]
            parts[place] = (kind, mutate_bytes(chance, content))
        case 1 if parts:
            del parts[place]
        case 2 if parts:
            parts.insert(chance.randint(0, len(parts)), parts[place])
        case 3 if parts:
            parts[place] = (chance.choice(kinds), parts[place][1])
        case 4 if parts:
            parts[place] = (parts[place][0], BOMB)
        case _:
            parts.insert(place, (chance.choice(kinds), chance.randbytes(chance.randint(0, 64))))
    return parts


def png(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Mutate a chunk of a PNG."""
    parts, place = [], len(PNG_SIGNATURE)
    while place + 12 <= len(content):
        (size,) = struct.unpack_from(">I", content, place)
        parts.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + size]))
        place += 12 + size
    return PNG_SIGNATURE + b"".join(
        struct.pack(">I", len(inner)) + kind + inner + struct.pack(">I", zlib.crc32(kind + inner))
        for kind, inner in _mutate_parts(chance, parts, PNG_KINDS)
    )


def riff(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Mutate a chunk of a WebP."""
    parts, place = [], 12
    while place + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, place + 4)
        parts.append((content[place : place + 4], content[place + 8 : place + 8 + size]))
        place += 8 + size + size % 2
    body = b"WEBP" + b"".join(
        kind + struct.pack("<I", len(inner)) + inner + b"\0" * (len(inner) % 2)
        for kind, inner in _mutate_parts(chance, parts, RIFF_KINDS)
    )
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Mutate a segment of a JPEG before its scan."""
    parts, place = [], 2
    while content[place : place + 1] == b"\xff" and content[place + 1 : place + 2] != b"\xda":
        if place + 4 > len(content):
            break
        (size,) = struct.unpack_from(">H", content, place + 2)
        parts.append((content[place : place + 2], content[place + 4 : place + 2 + size]))
        place += 2 + max(size, 2)
    kinds = tuple(bytes((0xFF, marker)) for marker in (0xC0, 0xC2, 0xC4, 0xDB, 0xDD, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE))
    changed = _mutate_parts(chance, parts, kinds)
    segments = (kind + struct.pack(">H", min(len(inner) + 2, 0xFFFF)) + inner[:0xFFFD] for kind, inner in changed)
    return content[:2] + b"".join(segments) + content[place:]


def npy(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Write an NPY file's header anew, with its true length."""
    shape = [chance.choice((*NUMBERS, 1, 2, 3, 4, 6)) for _ in range(chance.randint(0, 5))]
    stated: dict[str, object] = {
        "descr": chance.choice(NPY_TYPES),
        "fortran_order": chance.choice((False, True, 0)),
        "shape": tuple(shape),
    }
    if chance.random() < 1 / 4:
        stated[chance.choice(("descr", "shape", "more"))] = chance.choice(VALUES)
    header = ascii(stated).encode() if chance.random() < 3 / 4 else mutate_bytes(chance, ascii(stated).encode())
    version = chance.choice((1, 1, 1, 2, 3))
    length = struct.pack("<H" if version == 1 else "<I", len(header) % 2**16)
    return NPY_MAGIC + bytes((version, 0)) + length + header + content[128:]


def value(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Replace, remove, rename or copy one value of a JSON text."""
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return mutate_bytes(chance, content)
    holder, key = _place(chance, document)
    if holder is None:
        return json.dumps(chance.choice(VALUES)).encode()
    match chance.randrange(5):
        case 0:
            del holder[key]
        case 1 if isinstance(holder, dict):
            holder[chance.choice(("", "x" * 80, "n", "seed", "inputs", "\0"))] = holder.pop(key)
        case 2 if isinstance(holder, dict):
            name = json.dumps(key)
            return json.dumps(document).replace(name, f"{name}: 0, {name}", 1).encode()  # the key twice
        case 3 if isinstance(holder, list):
            holder.extend([holder[key]] * chance.choice((1, 2, 300)))
        case _:
            holder[key] = chance.choice(VALUES)
    return json.dumps(document, ensure_ascii=chance.random() < 1 / 2).encode(errors="surrogatepass")


def _place(chance: random.Random, document: Any) -> tuple[Any, Any]:  # noqa: ANN401 - JSON
    """Draw a container and a key or index in it; (None, None) where there is none."""
    holder, key = None, None
    inner = document
    while isinstance(inner, dict | list) and inner and (holder is None or chance.random() < 3 / 4):
        holder, key = inner, chance.choice(list(inner) if isinstance(inner, dict) else range(len(inner)))
        inner = holder[key]
    return holder, key


def entries(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Write a ZIP archive anew, with one entry changed, missing, twice, renamed or a bomb."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = [(name.encode(errors="replace"), archive.read(name)) for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError, NotImplementedError, zlib.error, EOFError):
        return mutate_bytes(chance, content)
    parts = _mutate_parts(
        chance, parts, (b"generator.latent.npy", b"../x", b"", b"x" * 300, *(name for name, _ in parts))
    )
    written = io.BytesIO()
    method = chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(written, "w", method) as archive:
        for name, inner in parts:
            entry = zipfile.ZipInfo(name.decode(errors="replace") or "x")
            entry.compress_type = method
            archive.writestr(entry, npy(chance, inner, ()) if chance.random() < 1 / 4 else inner)
    return written.getvalue()


def protobuf(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Mutate one field of a protobuf message, at any depth; the lengths around it are repaired."""
    fields = _fields(content)
    if not fields:
        return mutate_bytes(chance, content)
    place = chance.randrange(len(fields))
    tag, inner = fields[place]
    if tag & 7 == 2:  # noqa: PLR2004 - length-delimited
        nested = chance.random() < 3 / 4
        inner = protobuf(chance, inner, ()) if nested and _fields(inner) else mutate_bytes(chance, inner)
    else:
        inner = _varint(chance.choice(NUMBERS) % 2**64) if tag & 7 == 0 else mutate_bytes(chance, inner)[:8]
    match chance.randrange(8):
        case 0:
            del fields[place]
        case 1:
            fields.insert(chance.randint(0, len(fields)), (tag, inner))
        case 2:
            fields[place] = (chance.randrange(1, 256), inner)
        case _:
            fields[place] = (tag, inner)
    return b"".join(
        _varint(tag) + (_varint(len(inner)) if tag & 7 == 2 else b"") + inner  # noqa: PLR2004
        for tag, inner in fields
    )


def _varint(number: int) -> bytes:
    written = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        written.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*written, number))


def _fields(content: bytes) -> list[tuple[int, bytes]]:
    """(tag, content) of each field; none where it is no message."""
    found: list[tuple[int, bytes]] = []
    place = 0
    try:
        while place < len(content):
            tag, place = _read_varint(content, place)
            start = place
            match tag & 7:
                case 0:
                    _, place = _read_varint(content, place)
                case 1:
                    place += 8
                case 2:
                    size, start = _read_varint(content, place)
                    place = start + size
                case 5:
                    place += 4
                case _:
                    return []
            if place > len(content) or tag < 8:  # noqa: PLR2004 - fields begin at 1, and a tag has three bits of type
                return []
            found.append((tag, content[start:place]))
    except IndexError:
        return []
    return found


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    number = shift = 0
    while content[place] > 0x7F:  # noqa: PLR2004
        number |= (content[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
    return number | content[place] << shift, place + 1


def behind(inner: Mutation) -> Mutation:
    """A mutation of what stands behind a head, whose Content-Length is repaired."""

    def mutate(chance: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
        head, end, body = content.partition(HEAD_END)
        changed = inner(chance, body, [each.partition(HEAD_END)[2] for each in seeds])
        return LENGTH.sub(b"\\g<1>%d" % len(changed), head, count=1) + end + changed

    return mutate


def tensors(chance: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    """Mutate the JSON before binary tensors, or the tensors behind it; all lengths are repaired."""
    before, _, body = content.partition(HEAD_END)
    stated = JSON_LENGTH.search(before)
    if stated is None or chance.random() < 1 / 4:
        return behind(value)(chance, content, seeds)
    size = int(stated[2])
    text, blobs = body[:size], body[size:]
    if chance.random() < 1 / 2:
        text = value(chance, text, ())
    else:
        blobs = mutate_bytes(chance, blobs)
    before = JSON_LENGTH.sub(b"\\g<1>%d" % len(text), before, count=1)
    return LENGTH.sub(b"\\g<1>%d" % len(text + blobs), before, count=1) + HEAD_END + text + blobs


def head(chance: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    """Mutate the lines of a head: bytes of one, its order, copies, lines of another seed; the body stays."""
    before, end, body = content.partition(HEAD_END)
    lines = before.split(b"\r\n")
    place = chance.randrange(len(lines))
    match chance.randrange(5):
        case 0:
            lines[place] = mutate_bytes(chance, lines[place])
        case 1 if len(lines) > 1:
            del lines[place]
        case 2:
            lines += [lines[place]] * chance.choice((1, 2, 200))
        case 3:
            lines.insert(place, chance.choice(chance.choice(seeds).partition(HEAD_END)[0].split(b"\r\n")))
        case _:
            lines.append(chance.choice(LINES))
    return b"\r\n".join(lines) + end + body


LINES: Final = (
    b"transfer-encoding: chunked", b"transfer-encoding: gzip, chunked", b"content-length: 5", b"content-length: -1",
    b"connection: upgrade", b"upgrade: websocket", b"expect: 100-continue", b"host: y", b"x-timeout-ms: 1",
    b"x-timeout-ms: x", b"content-encoding: gzip", b"content-encoding: br", b"accept: image/png;q=x, */*;q=0",
    b"accept: " + b"a/b," * 500, b"range: bytes=0-9", b"if-none-match: *", b"origin: null", b"x-request-id: \xff",
    b"inference-header-content-length: 99999999", b"accept-encoding: gzip", b"traceparent: 00-0-0-0", b" folded: line",
    b"content-type: multipart/form-data; boundary=" + b"b" * 200, b"x: " + b"y" * 9000,
)  # fmt: skip
