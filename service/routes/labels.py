"""Classes as callers name them, by number or by name, turned into the integers of a package's graphs.

One reader for /generate and /score, so that both accept the same words and refuse with the same sentences. In JSON a
number is a class's integer and a string its name. A query has only text: it is the name of a class where there is one
of this name, however much it looks like an integer.

Shapes: N samples.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest, Problem

# A package may have 65,536 classes; a message lists as many as a person reads.
MAX_LISTED_NAMES = 20

QUERY: Final = "query"

Loc = tuple[str | int, ...]


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
