"""Conditions as callers name them: the id of a user or a query, one for all samples or one a sample.

One reader for every route, so that all accept the same ids and refuse with the same sentences.

Shapes: N samples.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest, Problem
from service.packages.schema import Condition


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
