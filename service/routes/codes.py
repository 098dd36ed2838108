"""InfoGAN's codes as callers name them: `{"digit": 3, "slant": 0.7}`, and what an encoder reads of them.

The engine knows codes by their place, the manifest by their name; here one becomes the other, in both directions.

Shapes: N samples, Q codes, K elements of the code tensor.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from service.errors import InvalidRequest, Problem
from service.packages.schema import CategoricalCode, Codes, ContinuousCode
from service.routes.answer_schemas import CategoricalReading

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


def name_readings(row: Sequence[float], codes: Codes) -> dict[str, CategoricalReading | float]:
    """Name what an encoder reads in a sample [K]: of each categorical code its distribution, of the others a number."""
    readings: dict[str, CategoricalReading | float] = {}
    start = 0
    for code in codes.categorical:
        probabilities = list(row[start : start + code.size])
        readings[code.name] = CategoricalReading(value=int(np.argmax(probabilities)), probabilities=probabilities)
        start += code.size
    return readings | {code.name: row[start + index] for index, code in enumerate(codes.continuous)}


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
