"""What may cross between two processes of one service: plain values, arrays, the engine's jobs and answers, and errors.

    value ──pack──▶ plain values + arrays ──▶ frame (`rpc.py`) ──▶ plain values + arrays ──unpack──▶ value

The set of types is closed: the dataclasses that a job, an answer or a report can hold, found by walking their fields,
and the errors of `service/errors.py`. Reading makes no other type and runs no code, as unpickling would.
"""

import dataclasses
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from service.engine.interface import EncodeJob, GenerateJob, InferJob, Samples, ScoreJob
from service.engine.model_spec import Array, LoadReport, PackageGraphs
from service.engine.statistics import GraphStatistics
from service.errors import GanymedeError, InvalidRequest, Problem, ServiceFault, TryAgainError

_ROOTS: Final = (
    GenerateJob, ScoreJob, EncodeJob, InferJob, Samples, PackageGraphs, LoadReport, GraphStatistics, Problem
)  # fmt: skip
# Tags of tuples that stand for other values; a dataclass is tagged with its name.
_ARRAY: Final = "array"
_TUPLE: Final = "tuple"
_AS_THEY_ARE: Final = frozenset({type(None), bool, int, float, str, bytes})


def pack(value: object, arrays: list[Array]) -> object:
    """Take a value apart.

    Args:
        value: of the closed set, or tuples and mappings of such.
        arrays: the arrays in it are appended here; the result holds their positions.

    Returns:
        None, bool, int, float, str, bytes, or tuples and dicts of these.

    Raises:
        TypeError: the value, or one in it, has another type.
    """
    kind = type(value)
    if kind in _AS_THEY_ARE:
        return value
    if kind in _FIELDS:
        fields = {}
        for name, default in _FIELDS[kind]:
            each = getattr(value, name)
            if each is not default:  # most fields of most jobs have their default
                fields[name] = each if type(each) in _AS_THEY_ARE else pack(each, arrays)
        return (kind.__name__, fields)
    match value:
        case np.ndarray():
            arrays.append(value)
            return (_ARRAY, len(arrays) - 1)
        case tuple():
            return (_TUPLE, *[pack(each, arrays) for each in value])
        case np.generic():
            return value.item()
        case Mapping():
            return {key: pack(each, arrays) for key, each in value.items()}
    raise TypeError(f"{kind.__name__} does not cross between processes")


def unpack(plain: Any, arrays: list[Array]) -> Any:  # noqa: ANN401  (any value of the set)
    """Restore a value that `pack` took apart; arrays are not copied."""
    if type(plain) is dict:
        return {key: unpack(each, arrays) for key, each in plain.items()}
    if type(plain) is not tuple:
        return plain
    tag = plain[0]
    if tag == _ARRAY:
        return arrays[plain[1]]
    if tag == _TUPLE:
        return tuple([unpack(each, arrays) for each in plain[1:]])
    fields = plain[1].items()
    return _KINDS[tag](**{name: each if type(each) in _AS_THEY_ARE else unpack(each, arrays) for name, each in fields})


def pack_error(error: Exception) -> tuple[str, tuple[object, ...]]:
    """Take an error apart; one that is no `GanymedeError` becomes a `ServiceFault` without its text."""
    if isinstance(error, InvalidRequest):
        return (type(error).__name__, error.problems)
    if isinstance(error, TryAgainError):
        return (type(error).__name__, (str(error), error.retry_after_s))
    if isinstance(error, GanymedeError):
        return (type(error).__name__, (str(error),))
    return (ServiceFault.__name__, ("the engine failed on this request; its log says how",))


def unpack_error(name: str, arguments: tuple[object, ...]) -> GanymedeError:
    """Restore an error that `pack_error` took apart."""
    return _ERRORS[name](*arguments)


def _dataclasses_in(kind: object) -> Iterator[type]:
    """The dataclasses that a value of this type can hold, its own included."""
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        yield kind
        parts = tuple(typing.get_type_hints(kind).values())
    else:
        parts = typing.get_args(kind)
    for part in parts:
        yield from _dataclasses_in(part)


def _errors(kind: type[GanymedeError]) -> Iterator[type[GanymedeError]]:
    """An error class and all its subclasses."""
    yield kind
    for subclass in kind.__subclasses__():
        yield from _errors(subclass)


_FIELDS: Final = {
    kind: tuple((field.name, field.default) for field in dataclasses.fields(kind) if field.init)
    for root in _ROOTS
    for kind in _dataclasses_in(root)
}
_KINDS: Final = {kind.__name__: kind for kind in _FIELDS}
_ERRORS: Final = {kind.__name__: kind for kind in _errors(GanymedeError)}
