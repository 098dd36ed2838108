"""Fields that several requests share, from a caller's words to the engine's numbers: classes, codes, conditions, seeds.

Shapes: N samples, Q codes.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.api.limits import MAX_SEED
from service.errors import InvalidRequest, Problem
from service.media.decoders import Loc
from service.packages.schema import CategoricalCode, Codes, Condition, ContinuousCode

NamedCodes = Mapping[str, int | float]

QUERY: Final = "query"
# A package may have 65,536 classes; a message lists as many names as a person reads.
MAX_LISTED_NAMES = 20
_CODES: Final[Loc] = ("body", "codes")
_RANGE = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", re.ASCII)


def read_labels(
    label: int | str | None,
    labels: Sequence[int | str] | None,
    *,
    names: Sequence[str],
    count: int,
    place: str = "body",
) -> NDArray[np.int64] | None:
    """Read one class for all samples, or one per sample.

    Args:
        label: the class of every sample; excludes `labels`.
        names: the package's classes, in the order of their integers; empty for an unconditional one.
        count: N.
        place: where the fields stand; in a `query` a class may be named by its integer as text.

    Returns:
        [N], or None when neither is given.

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
    """The classes of a package, for the field `loc`."""

    def __init__(self, names: Sequence[str], loc: Loc) -> None:
        if not names:
            raise InvalidRequest(Problem(loc, "no classes are taken here"))
        self._names = names
        self._is_text = loc[0] == QUERY
        self._numbers = {name: number for number, name in enumerate(names)}

    def read(self, label: int | str, loc: Loc) -> int:
        """The integer of a class."""
        if isinstance(label, str):
            if label in self._numbers:
                return self._numbers[label]
            if self._is_text and label.isascii() and label.isdigit():
                return self.read(int(label), loc)
            words = f"there is no class of this name; there are: {_listed(self._names)}"
            raise InvalidRequest(Problem(loc, words))
        if 0 <= label < len(self._names):
            return label
        raise InvalidRequest(Problem(loc, f"the classes are 0 to {len(self._names) - 1}"))


def read_codes(
    given: NamedCodes | Sequence[NamedCodes] | None, codes: Codes | None, *, count: int
) -> NDArray[np.float64] | None:
    """Read codes by name: one object for all samples, or one per sample.

    Args:
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
        raise InvalidRequest(Problem(_CODES, "no codes are taken here"))
    if isinstance(given, Mapping):
        return np.tile(_read_named(given, codes, _CODES), (count, 1))
    if len(given) != count:
        raise InvalidRequest(Problem(_CODES, f"there are {len(given)} objects for {count} samples"))
    return np.array([_read_named(each, codes, (*_CODES, index)) for index, each in enumerate(given)])


def name_codes(row: Sequence[float], codes: Codes) -> dict[str, int | float]:
    """A sample's codes [Q] by name."""
    categories = len(codes.categorical)
    values = [*map(int, row[:categories]), *row[categories:]]
    return dict(zip(codes.names, values, strict=True))


def _read_named(given: NamedCodes, codes: Codes, loc: Loc) -> list[float]:
    """One sample's codes [Q], NaN for each left out."""
    for name in given:
        if name not in codes.names:
            words = f"there is no code of this name; there are: {_listed(codes.names)}"
            raise InvalidRequest(Problem((*loc, name), words))
    categorical = [_read_category(given.get(code.name), code, (*loc, code.name)) for code in codes.categorical]
    return categorical + [_read_number(given.get(code.name), code, (*loc, code.name)) for code in codes.continuous]


def _read_category(value: int | float | None, code: CategoricalCode, loc: Loc) -> float:
    if value is None:
        return np.nan
    if not isinstance(value, int) or not 0 <= value < code.size:
        raise InvalidRequest(Problem(loc, f"must be an integer from 0 to {code.size - 1}"))
    return float(value)


def _read_number(value: float | None, code: ContinuousCode, loc: Loc) -> float:
    if value is None:
        return np.nan
    if not code.low <= value <= code.high:
        raise InvalidRequest(Problem(loc, f"must be a number from {code.low:g} to {code.high:g}"))
    return float(value)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_LISTED_NAMES]) + (", …" if len(names) > MAX_LISTED_NAMES else "")


def read_conditions(
    given: int | Sequence[int] | None, condition: Condition | None, *, count: int, place: str = "body"
) -> NDArray[np.int64] | None:
    """Read one condition id for all samples, or one per sample.

    Args:
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


@dataclass(frozen=True, slots=True)
class SeedRanges:
    """Seeds as the ranges they were written in.

    Attributes:
        ranges: (first, last) pairs, both included, first ≤ last ≤ 2⁶³ − 1.
    """

    ranges: tuple[tuple[int, int], ...]

    @property
    def count(self) -> int:
        """The number of seeds, known before they are written out."""
        return sum(last - first + 1 for first, last in self.ranges)

    def expand(self) -> NDArray[np.uint64]:
        """Every seed, [count], in the order they were written."""
        return np.concatenate([np.arange(first, last + 1, dtype=np.uint64) for first, last in self.ranges])


def read_ranges(text: str) -> SeedRanges:
    """Read seeds and ranges of seeds, such as `0-15,99`.

    Raises:
        ValueError: the text is something else; the message says where.
    """
    return SeedRanges(tuple(_read_range(part) for part in text.split(",")))


def write_ranges(seeds: NDArray[np.uint64]) -> str:
    """Write seeds [N], with N ≥ 1, as the fewest ranges that keep their order."""
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
