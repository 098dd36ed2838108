"""The range grammar of seeds: `"0-15,99"` is sixteen seeds and one more.

    seeds = range *("," range)        range = integer ["-" integer]

One grammar for what a caller writes and for what `X-Seeds` answers, so that an answer can be asked for again as it
stands. Reading never expands: the count is known, and may be refused, before an array of that size exists.
"""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_SEED = 2**63 - 1
_RANGE = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SeedRanges:
    """Seeds as the ranges they were written in.

    Attributes:
        ranges: (first, last) pairs, both included, first ≤ last ≤ 2⁶³ − 1.
    """

    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """How many seeds there are."""
        return sum(last - first + 1 for first, last in self.ranges)

    def expand(self) -> NDArray[np.uint64]:
        """Write every seed out, uint64 [count], in the order they were written."""
        return np.concatenate([np.arange(first, last + 1, dtype=np.uint64) for first, last in self.ranges])


def read_ranges(text: str) -> SeedRanges:
    """Read the grammar.

    Raises:
        ValueError: the text is not of it; the message says where.
    """
    return SeedRanges(tuple(_read_range(part) for part in text.split(",")))


def write_ranges(seeds: NDArray[np.uint64]) -> str:
    """Write seeds, uint64 [N] with N ≥ 1, in the fewest ranges that keep their order."""
    if len(seeds) == 1:
        return str(int(seeds[0]))
    breaks = np.flatnonzero(seeds[1:] - seeds[:-1] != 1)
    firsts = [int(seeds[0]), *seeds[breaks + 1].tolist()]
    lasts = [*seeds[breaks].tolist(), int(seeds[-1])]
    return ",".join(
        str(first) if first == last else f"{first}-{last}" for first, last in zip(firsts, lasts, strict=True)
    )


def _read_range(part: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(part)
    if found is None:
        raise ValueError(f'"{part.strip()[:40]}" is neither a seed nor a range such as "0-15"')
    first = int(found[1])
    last = int(found[2] or first)
    if last > MAX_SEED:
        raise ValueError(f"a seed may be at most {MAX_SEED}")
    if last < first:
        raise ValueError(f'the range "{first}-{last}" runs backwards')
    return first, last
