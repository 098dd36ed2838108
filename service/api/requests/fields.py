"""InfoGAN's codes as callers name them: `{"digit": 3, "slant": 0.7}`, and what an encoder reads of them.

The engine knows codes by their place, the manifest by their name; here one becomes the other, in both directions.

Shapes: N samples, Q codes, K elements of the code tensor.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.api.limits import MAX_SEED
from service.errors import InvalidRequest, Problem
from service.packages.schema import CategoricalCode, Codes, Condition, ContinuousCode

Loc = tuple[str | int, ...]
Named = Mapping[str, int | float]
LOC: Loc = ("body", "codes")
# A package may have 128 codes; a message lists as many as a person reads.
MAX_LISTED_NAMES = 20


def read_codes(given: Named | Sequence[Named] | None, codes: Codes | None, *, count: int) -> NDArray[np.float64] | None:
    """Read one object for all samples, or one a sample.

    Args:
        given: code name to its value, as the caller wrote it.
        codes: the package's.
        count: N.

    Returns:
        [N, Q], NaN for each code left out; None when none is given.

    Raises:
        InvalidRequest: a code or a value of it does not exist, or there are not N objects.
    """
    if given is None:
        return None
    if codes is None:
        raise InvalidRequest(Problem(LOC, "no codes are taken here"))
    if isinstance(given, Mapping):
        return np.tile(_row(given, codes, LOC), (count, 1))
    if len(given) != count:
        raise InvalidRequest(Problem(LOC, f"there are {len(given)} objects for {count} samples"))
    return np.array([_row(each, codes, (*LOC, index)) for index, each in enumerate(given)])


def name_codes(row: Sequence[float], codes: Codes) -> dict[str, int | float]:
    """Name a sample's codes [Q], as a caller would."""
    categories = len(codes.categorical)
    values = [*map(int, row[:categories]), *row[categories:]]
    return dict(zip(codes.names, values, strict=True))


def _row(given: Named, codes: Codes, loc: Loc) -> list[float]:
    """One sample's codes [Q], NaN for each left out."""
    for name in given:
        if name not in codes.names:
            listed = ", ".join(codes.names[:MAX_LISTED_NAMES]) + (", …" if len(codes.names) > MAX_LISTED_NAMES else "")
            raise InvalidRequest(Problem((*loc, name), f"there is no code of this name; there are: {listed}"))
    categorical = [_category(given.get(code.name), code, (*loc, code.name)) for code in codes.categorical]
    return categorical + [_number(given.get(code.name), code, (*loc, code.name)) for code in codes.continuous]


def _category(value: int | float | None, code: CategoricalCode, loc: Loc) -> float:
    """A categorical code's value; NaN where it is left out."""
    if value is None:
        return np.nan
    if not isinstance(value, int) or not 0 <= value < code.size:
        raise InvalidRequest(Problem(loc, f"must be an integer from 0 to {code.size - 1}"))
    return float(value)


def _number(value: float | None, code: ContinuousCode, loc: Loc) -> float:
    """A continuous code's number; NaN where it is left out."""
    if value is None:
        return np.nan
    if not code.low <= value <= code.high:
        raise InvalidRequest(Problem(loc, f"must be a number from {code.low:g} to {code.high:g}"))
    return float(value)


def read_conditions(
    given: int | Sequence[int] | None, condition: Condition | None, *, count: int, place: str = "body"
) -> NDArray[np.int64] | None:
    """Read one id for all samples, or one a sample.

    Args:
        given: what the caller named.
        condition: what has to be named; None where nothing is taken.
        count: N.
        place: where the field stands in the request.

    Returns:
        [N], or None where nothing is taken.

    Raises:
        InvalidRequest: an id is missing, not wanted or out of range, or there are not N of them.
    """
    loc = (place, "condition")
    if condition is None:
        if given is not None:
            raise InvalidRequest(Problem(loc, "no condition is taken here"))
        return None
    words = f"the {condition.name}'s id, a number from 0 to {condition.count - 1}"
    if given is None:
        raise InvalidRequest(
            Problem(loc, f"this package needs {words}: one for all samples, or a list of one a sample")
        )
    if isinstance(given, int):
        if not 0 <= given < condition.count:
            raise InvalidRequest(Problem(loc, f"must be {words}"))
        return np.full(count, given, dtype=np.int64)
    if len(given) != count:
        raise InvalidRequest(Problem(loc, f"there are {len(given)} ids for {count} samples"))
    for index, each in enumerate(given):
        if not 0 <= each < condition.count:
            raise InvalidRequest(Problem((*loc, index), f"must be {words}"))
    return np.array(given, dtype=np.int64)


# A package may have 65,536 classes; a message lists as many as a person reads.

QUERY: Final = "query"


def read_labels(
    label: int | str | None,
    labels: Sequence[int | str] | None,
    *,
    names: Sequence[str],
    count: int,
    place: str = "body",
) -> NDArray[np.int64] | None:
    """Read one class for all samples, or one a sample.

    Args:
        label: the class of every sample; excludes `labels`.
        labels: one class a sample.
        names: the package's classes, in the order of their integers; empty for an unconditional one.
        count: N.
        place: where the fields stand in the request; in a `query` a class may be named by its integer as text.

    Returns:
        [N] int64, or None when neither is given.

    Raises:
        InvalidRequest: both are given, a class does not exist, or there are not N of them.
    """
    if label is not None:
        loc: Loc = (place, "label")
        if labels is not None:
            raise InvalidRequest(Problem(loc, "`label` and `labels` exclude each other"))
        return np.full(count, _Classes(names, loc).read(label, loc), dtype=np.int64)
    if labels is None:
        return None
    loc = (place, "labels")
    if len(labels) != count:
        raise InvalidRequest(Problem(loc, f"there are {len(labels)} classes for {count} samples"))
    classes = _Classes(names, loc)
    return np.array([classes.read(each, (*loc, index)) for index, each in enumerate(labels)], dtype=np.int64)


class _Classes:
    """A package's classes.

    Args:
        names: in the order of their integers.
        loc: the field that asks for one.
    """

    def __init__(self, names: Sequence[str], loc: Loc) -> None:
        if not names:
            raise InvalidRequest(Problem(loc, "no classes are taken here"))
        self._names = names
        self._is_text = loc[0] == QUERY
        self._numbers = {name: number for number, name in enumerate(names)}

    def read(self, label: int | str, loc: Loc) -> int:
        """Answer the integer of a class."""
        if isinstance(label, str):
            if label in self._numbers:
                return self._numbers[label]
            if self._is_text and label.isascii() and label.isdigit():
                return self.read(int(label), loc)
            listed = ", ".join(self._names[:MAX_LISTED_NAMES]) + (", …" if len(self._names) > MAX_LISTED_NAMES else "")
            raise InvalidRequest(Problem(loc, f"there is no class of this name; there are: {listed}"))
        if 0 <= label < len(self._names):
            return label
        raise InvalidRequest(Problem(loc, f"the classes are 0 to {len(self._names) - 1}"))


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
