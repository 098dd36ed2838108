"""What is fuzzed, and how its inputs are made: each follows from seed, target and number, and can be made again.

    seeds of a target ─▶ choose one ─▶ one to four mutations ─▶ input
                                         ├ of bytes: flips, numbers, deletions, repetitions, splices, words
                                         └ of the format's structure (`structures.py`), with lengths and sums repaired

Python's `random.Random` draws the same numbers in all versions for the methods used here, and its seed is a string.

References:
    Zalewski, american fuzzy lop: technical details, 2014 (stages and interesting numbers).
"""

import random
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Final

# A mutation takes the random numbers, an input, and the target's seeds to splice from.
Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
READ = Callable[[bytes], object]

MEBIBYTE: Final = 2**20

# Longer inputs cost more time than they find; tests/live/test_bounded_bodies.py has bodies of maximal size.
MAX_BYTES: Final = 64 * 1024
# Of one input: a single one reaches deepest, because the rest of the input stays valid.
COUNTS: Final = (1, 1, 1, 1, 2, 2, 3, 4)
MAX_REPEATS: Final = 512
# Where signs, widths and limits change.
NUMBERS: Final = (
    -(2**63), -(2**31), -1, 0, 1, 2, 7, 8, 16, 64, 127, 128, 255, 256, 1023, 1024, 4096, 32767, 32768, 65535, 65536,
    2**24, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**53, 2**63 - 1, 2**63, 2**64 - 1,
)  # fmt: skip
WIDTHS: Final = {1: "B", 2: "H", 4: "I", 8: "Q"}
DIGITS: Final = re.compile(rb"-?\d+(?:\.\d+)?")
WORDS: Final = (
    b"\0", b"\xff" * 8, b"\r\n", b"\r\n\r\n", b"\n", b"%00", b"../", b"{}", b"[]", b'"', b"\\u0000", b"\\ud800",
    b"NaN", b"Infinity", b"1e400", b"-0", b"null", b"true", b"9" * 400, b"[" * 64, b'{"a":' * 32, b"\xef\xbb\xbf",
    "𝔘é".encode(), b"\xc0\x80", b"\xed\xa0\x80", b" " * 256,
)  # fmt: skip


@dataclass(frozen=True)
class Opened:
    """A reader that takes inputs.

    Attributes:
        read: reads one input.
        pid: of the process whose memory is limited, where another one reads; None for the reader's own.
    """

    read: READ
    pid: int | None = None


class Wrong(Exception):
    """A reader's own finding: its input was answered wrongly."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of untrusted bytes.

    Attributes:
        seeds: valid inputs.
        declared: errors that it may raise.
        own: mutations of its format's structure.
        opened: makes the reader, and ends what it needs.
        memory_bytes: most that one input may have the process take beyond what it holds.
        seconds: most processor time that one input may take.
        address_bytes: room for more addresses than the process has; None for no limit, where it starts a service.
    """

    seeds: Sequence[bytes]
    declared: tuple[type[Exception], ...]
    own: tuple[Mutation, ...] = ()
    opened: Callable[[], AbstractContextManager[Opened]]
    memory_bytes: int = 64 * MEBIBYTE
    seconds: float = 1.0
    address_bytes: int | None = 2 * 2**30


def plain(read: READ) -> Callable[[], AbstractContextManager[Opened]]:
    """A reader that needs nothing."""
    return lambda: nullcontext(Opened(read))


def make(seeds: Sequence[bytes], own: Sequence[Mutation], target: str, seed: int, number: int) -> bytes:
    """Make one input.

    Args:
        seeds: valid inputs of the target, and past findings; at least one.
        own: mutations of the target's structure; half of all mutations, where there are any.
        target: its name.
        seed: of the whole run.
        number: of the input.

    Returns:
        At most `MAX_BYTES`.
    """
    chance = random.Random(f"{seed}/{target}/{number}")  # noqa: S311 - inputs, not secrets
    content = chance.choice(seeds)
    for _ in range(chance.choice(COUNTS)):
        mutation = chance.choice(own if own and chance.random() < 1 / 2 else OF_BYTES)
        content = mutation(chance, content, seeds)[:MAX_BYTES]
    return content


def span(chance: random.Random, content: bytes) -> tuple[int, int]:
    """Draw a part of some bytes; short ones are likelier."""
    start = chance.randint(0, len(content))
    return start, min(len(content), start + int(2 ** chance.uniform(0, 10)))


def flip(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Flip some bits."""
    if not content:
        return b"\x01"
    flipped = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        flipped[chance.randrange(len(flipped))] ^= 1 << chance.randrange(8)
    return bytes(flipped)


def overwrite(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Write a number where signs, widths or limits change, in one of the widths and orders."""
    width = chance.choice(tuple(WIDTHS))
    place = chance.randint(0, max(0, len(content) - width))
    value = chance.choice(NUMBERS) % 2 ** (8 * width)
    return content[:place] + struct.pack(chance.choice("<>") + WIDTHS[width], value) + content[place + width :]


def respell(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Replace a number that is written in digits."""
    found = list(DIGITS.finditer(content[:MAX_BYTES]))
    if not found:
        return content + b"0"
    place = chance.choice(found)
    value = chance.choice(
        (str(chance.choice(NUMBERS)), f"{chance.uniform(-1, 1) * 10.0 ** chance.randint(-300, 300):g}")
    )
    return content[: place.start()] + value.encode() + content[place.end() :]


def delete(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Remove a part."""
    start, end = span(chance, content)
    return content[:start] + content[end:]


def cut(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """End early."""
    return content[: chance.randint(0, len(content))]


def repeat(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Repeat a part, a few times or many."""
    start, end = span(chance, content)
    times = chance.choice((1, 2, 3, MAX_REPEATS))
    return content[:start] + content[start:end] * (times + 1) + content[end:]


def splice(chance: random.Random, content: bytes, seeds: Sequence[bytes]) -> bytes:
    """Put a part of another seed in the place of a part."""
    other = chance.choice(seeds)
    (start, end), (first, last) = span(chance, content), span(chance, other)
    return content[:start] + other[first:last] + content[end:]


def insert(chance: random.Random, content: bytes, _seeds: Sequence[bytes]) -> bytes:
    """Insert a word that has caused trouble elsewhere, or random bytes."""
    place = chance.randint(0, len(content))
    word = chance.choice(WORDS) if chance.random() < 3 / 4 else chance.randbytes(chance.randint(1, 32))
    return content[:place] + word + content[place:]


OF_BYTES: Final[tuple[Mutation, ...]] = (flip, overwrite, respell, delete, cut, repeat, splice, insert)
