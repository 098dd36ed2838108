"""Tables of a TOML file as frozen dataclasses, and back.

Each part of the training declares the keys it understands as a frozen dataclass of plain values; a range is stated
with the type, `Annotated[int, Range(at_least=1)]`. This module fills such a class from a table, words every mistake as
one sentence that names the key and, where there is one, the nearest valid one, and writes the table back.
"""

import dataclasses
import difflib
import json
import math
import tomllib
import types
from collections.abc import Collection, Iterable, Mapping
from typing import Annotated, ClassVar, Literal, Protocol, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from training.errors import ConfigError

Scalar = bool | int | float | str
Value = Scalar | list[Scalar] | dict[str, Scalar | list[Scalar]]
Table = dict[str, Value]

NEAREST_CUTOFF = 0.5  # similarity below which a suggestion misleads more than it helps (difflib's default is 0.6)
BYTE_ORDER_MARK = "\ufeff"
TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "text"}


class Part(Protocol):
    """A frozen dataclass of plain values."""

    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[object]]]


P = TypeVar("P", bound=Part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """The values a number may have; a bound left out does not bind."""

    at_least: float = -math.inf
    above: float = -math.inf
    at_most: float = math.inf
    below: float = math.inf

    def __contains__(self, value: float) -> bool:
        """Whether the number lies within all four bounds (an open bound at infinity refuses infinity)."""
        return self.at_least <= value <= self.at_most and self.above < value < self.below

    def __str__(self) -> str:
        """The bounds in words, with a leading space: ` of at least 1 and below 2`."""
        bounds = {"of at least": self.at_least, "above": self.above, "of at most": self.at_most, "below": self.below}
        stated = [f"{words} {bound:g}" for words, bound in bounds.items() if math.isfinite(bound)]
        return " " + " and ".join(stated) if stated else ""


def nearest(word: str, choices: Iterable[str]) -> str:
    """Suggest what may have been meant.

    Args:
        choices: what would have been valid.

    Returns:
        `; did you mean "…"?` for the most similar choice, else `; it may be "…", "…"` with all of them.
    """
    known = sorted(choices)
    close = difflib.get_close_matches(word, known, n=1, cutoff=NEAREST_CUTOFF)
    if close:
        return f'; did you mean "{close[0]}"?'
    return "; valid are " + ", ".join(f'"{choice}"' for choice in known)


@dataclasses.dataclass(frozen=True, slots=True)
class Key:
    """What a table may hold under one name."""

    hint: object
    required: bool


def parse(text: str) -> dict[str, object]:
    """Read TOML.

    Args:
        text: of a configuration file; a leading byte order mark is ignored, as editors on Windows write one.

    Returns:
        Its keys and tables.

    Raises:
        ConfigError: if it is not TOML.
    """
    try:
        return tomllib.loads(text.removeprefix(BYTE_ORDER_MARK))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error


def parse_setting(text: str) -> tuple[list[str], object]:
    """Read `TABLE.KEY=VALUE`.

    Args:
        text: the value is TOML; anything that is not is text, so that text needs no quotes.

    Returns:
        The words before the sign, and the value.

    Raises:
        ConfigError: if there is no sign or no word before it.
    """
    place, sign, value = text.partition("=")
    words = [word.strip() for word in place.split(".")]
    if not sign or not all(words):
        raise ConfigError(f"--set {text} is not TABLE.KEY=VALUE, as in trainer.batch_size=128")
    try:
        read = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        read = {}
    return words, read["value"] if len(read) == 1 else value


def check_keys(table: Mapping[str, object], keys: Mapping[str, Key], where: str) -> dict[str, object]:
    """Check a table against the keys that it may have.

    Args:
        table: keys and values as `tomllib` reads them.
        where: the table's name for messages, such as `[trainer]`.

    Returns:
        The values as their types want them: floats widened from integers, lists turned into tuples.

    Raises:
        ConfigError: for an unknown or missing key, a wrong type or a value out of its range.
    """
    for name in table:
        if name not in keys:
            raise ConfigError(f'{where} has no key "{name}"{nearest(name, keys)}')
    for name, key in keys.items():
        if name not in table and key.required:
            raise ConfigError(f'{where} lacks the key "{name}"')
    return {name: _checked(value, keys[name].hint, f"{where} {name}") for name, value in table.items()}


def known_kind(kind: object, kinds: Collection[str], where: str) -> str:
    """Check a table's kind against the known ones.

    Args:
        kind: as the table has it; None if it has none.

    Raises:
        ConfigError: for none, or an unknown one.
    """
    if kind is None:
        raise ConfigError(f'{where} lacks the key "kind"; valid are ' + ", ".join(f'"{name}"' for name in kinds))
    if not isinstance(kind, str) or kind not in kinds:
        raise ConfigError(f'{where} has no kind "{kind}"{nearest(str(kind), kinds)}')
    return kind


def bind(table: Mapping[str, object], part: type[P], where: str) -> P:
    """Fill a frozen dataclass from a table.

    Args:
        table: keys and values as `tomllib` reads them.
        part: the dataclass; fields without a default are required.
        where: the table's name for messages, such as `[trainer]`.

    Returns:
        The filled dataclass: floats widened from integers, lists turned into tuples.

    Raises:
        ConfigError: for an unknown or missing key, a wrong type or a value out of its range.
    """
    hints = get_type_hints(part, include_extras=True)
    keys = {
        field.name: Key(hints[field.name], field.default is field.default_factory is dataclasses.MISSING)
        for field in dataclasses.fields(part)
    }
    return part(**check_keys(table, keys, where))


def unbind(part: Part) -> Table:
    """Write a frozen dataclass as a table, defaults included.

    Returns:
        Plain values under the field names; tuples as lists.
    """
    return {field.name: _plain(getattr(part, field.name)) for field in dataclasses.fields(part)}


def to_toml(table: Table) -> str:
    """Write the `key = value` lines of one table.

    Returns:
        TOML; JSON's spelling of strings, numbers, booleans and flat lists is also TOML's. A table of names is inline.
    """
    return "".join(f"{key} = {_literal(value)}\n" for key, value in table.items())


def _plain(value: object) -> Value:
    """A field's value as TOML knows it: lists for tuples, a dictionary for any mapping."""
    if isinstance(value, Mapping):
        return {name: cast("Scalar | list[Scalar]", _plain(entry)) for name, entry in value.items()}
    return cast("Value", list(value) if isinstance(value, tuple) else value)


def _literal(value: Value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(name)} = {_literal(entry)}" for name, entry in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML alone forbids a bare DEL


def _checked(value: object, hint: object, where: str) -> object:
    """The value as the type wants it, or a sentence about what it should have been."""
    for option in _options(hint):
        match = _match(value, option)
        if match is not None:
            return match
    wanted = " or ".join(_describe(option) for option in _options(hint))
    suggestion = _suggestion(value, hint)
    raise ConfigError(f"{where} is {json.dumps(value, default=str)} but must be {wanted}{suggestion}")


def _suggestion(value: object, hint: object) -> str:
    words = [choice for option in _options(hint) if get_origin(option) is Literal for choice in get_args(option)]
    close = difflib.get_close_matches(value, words, n=1, cutoff=NEAREST_CUTOFF) if isinstance(value, str) else []
    return f'; did you mean "{close[0]}"?' if close else ""


def _options(hint: object) -> tuple[object, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _match(value: object, hint: object) -> object | None:
    """The value if it fits the type (which never admits None), else None."""
    origin = get_origin(hint)
    if origin is Annotated:
        base, bounds = get_args(hint)
        match = _match(value, base)
        return match if isinstance(match, int | float) and match in bounds else None
    if origin is Literal:
        choices = {(type(choice), choice) for choice in get_args(hint)}  # with types, because True equals 1
        return value if isinstance(value, Scalar) and (type(value), value) in choices else None
    if origin is tuple:
        return _match_list(value, get_args(hint))
    if origin is Mapping:
        return _match_mapping(value, get_args(hint)[1])
    if hint is float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return float(value) if number and math.isfinite(value) else None  # type: ignore[arg-type]  # narrowed by `number`
    return value if type(value) is hint else None  # `type`, because True is an instance of int


def _match_list(value: object, element_hints: tuple[object, ...]) -> tuple[object, ...] | None:
    if not isinstance(value, list):
        return None
    repeated = element_hints[-1:] == (Ellipsis,)
    hints = element_hints[:1] * len(value) if repeated else element_hints
    if len(hints) != len(value) or (repeated and not value):
        return None
    matches = tuple(_match(element, hint) for element, hint in zip(value, hints, strict=True))
    return None if None in matches else matches


def _match_mapping(value: object, entry_hint: object) -> dict[str, object] | None:
    if not isinstance(value, dict):
        return None
    matches = {str(name): _match(entry, entry_hint) for name, entry in value.items()}
    return None if None in matches.values() else matches


def _describe(hint: object) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return f"{_describe(arguments[0])}{arguments[1]}"
    if origin is Literal:
        return "one of " * (len(arguments) > 1) + ", ".join(json.dumps(choice) for choice in arguments)
    if hint == tuple[()]:
        return "an empty list"
    if origin is tuple:
        length = "one or more" if arguments[-1] is Ellipsis else str(len(arguments))
        return f"a list of {length} entries, each {_describe(arguments[0])}"
    if origin is Mapping:
        return f"a table of names, each {_describe(arguments[1])}"
    return TYPE_NAMES[hint]  # type: ignore[index]  # a type outside the table is a fault of the declaring part
