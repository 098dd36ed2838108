"""The schema of a configuration: made from the code, and read back."""

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from training.tables import Key, Part, Range, known_kind

SHIPPED: Final = Path(__file__).parents[1] / "configs"
FILE: Final = SHIPPED / "schema.json"
DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
TITLE: Final = "A Ganymede training run"
TYPES: Final = {bool: "boolean", int: "integer", float: "number", str: "string"}
BOUNDS: Final = {
    "at_least": "minimum",
    "above": "exclusiveMinimum",
    "at_most": "maximum",
    "below": "exclusiveMaximum",
}

Json = dict[str, Any]


def schema() -> Json:
    """Make the schema from the dataclasses.

    Returns:
        A JSON Schema of a whole configuration; a table of several kinds has one variant for each.
    """
    from training import augmentation, config, data, networks, objectives  # noqa: PLC0415 - they import torch
    from training.networks import encoder  # noqa: PLC0415

    kinds: dict[str, tuple[Mapping[str, type[Part]], str | None]] = {
        "data": (data.KINDS, None),
        "generator": (networks.GENERATORS, networks.DEFAULT_KIND),
        "discriminator": (networks.DISCRIMINATORS, networks.DEFAULT_KIND),
        "encoder": (encoder.KINDS, None),
        "objective": (objectives.KINDS, None),
        "augmentation": (augmentation.KINDS, None),
    }
    header = _table_schema(config.Header)
    sections = {
        name: _kinds_schema(*kinds[name]) if name in kinds else _table_schema(config.SINGLE_KIND[name])
        for name in config.SECTIONS
    }
    needed = [name for name in sections if name in config.NEEDED]
    return {
        "$schema": DIALECT,
        "title": TITLE,
        **header,
        "properties": header["properties"] | sections,
        "required": header["required"] + needed,
    }


def text(made: Json) -> str:
    """The schema as its file has it."""
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


@cache
def shipped() -> Json:
    """The schema as it is shipped; needs no torch."""
    loaded: Json = json.loads(FILE.read_text(encoding="utf-8"))
    return loaded


def sections() -> dict[str, Json]:
    """The tables of the shipped schema by name, without the keys outside of any."""
    return {name: made for name, made in shipped()["properties"].items() if "oneOf" in made or "properties" in made}


def variant(section: Json, kind: object, where: str) -> Json:
    """The schema of a table of one kind.

    Args:
        section: schema of the table.
        kind: as the table has it; None takes the default.
        where: the table's name for messages, such as `[trainer]`.

    Raises:
        ConfigError: if there is no such kind.
    """
    if "oneOf" not in section:
        return section
    kinds: dict[str, Json] = {made["properties"]["kind"]["const"]: made for made in section["oneOf"]}
    return kinds[known_kind(section.get("default") if kind is None else kind, kinds, where)]


def keys_of(table: Json, leave_out: Iterable[str] = ("kind",)) -> dict[str, Key]:
    """The keys of a table with their types."""
    return {
        name: Key(_hint(made), required=name in table["required"])
        for name, made in table["properties"].items()
        if name not in leave_out
    }


def _kinds_schema(kinds: Mapping[str, type[Part]], default: str | None) -> Json:
    variants = []
    for kind, part in kinds.items():
        table = _table_schema(part)
        required = table["required"] if kind == default else ["kind", *table["required"]]
        variants.append({**table, "properties": {"kind": {"const": kind}} | table["properties"], "required": required})
    return {"type": "object", "oneOf": variants} | ({} if default is None else {"default": default})


def _table_schema(part: type[Part]) -> Json:
    hints, told = get_type_hints(part, include_extras=True), _told(part)
    properties: Json = {}
    required = []
    for field in dataclasses.fields(part):
        properties[field.name] = _hint_schema(hints[field.name]) | {"description": told.get(field.name, "")}
        if field.default is not dataclasses.MISSING:
            properties[field.name]["default"] = (
                list(field.default) if isinstance(field.default, tuple) else field.default
            )
        elif field.default_factory is not dataclasses.MISSING:
            properties[field.name]["default"] = field.default_factory()
        else:
            required.append(field.name)
    description = (inspect.getdoc(part) or "").split("\n\n")[0].replace("\n", " ")
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }


def _told(part: type[Part]) -> dict[str, str]:
    """Descriptions of attributes in the docstrings of a dataclass and its bases."""
    told: dict[str, str] = {}
    for base in reversed(part.__mro__):
        if "__dataclass_fields__" not in vars(base):
            continue
        _, _, attributes = inspect.cleandoc(base.__doc__ or "").partition("Attributes:\n")
        for name, words in re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", attributes.split("\n\n")[0], re.MULTILINE):
            told[name] = re.sub(r"\s+", " ", words)
    return told


def _hint_schema(hint: object) -> Json:  # noqa: PLR0911 - one for each form that a type has
    """A type in JSON Schema; `_hint` is the inverse."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return {"anyOf": [_hint_schema(option) for option in arguments if option is not type(None)]}
    if origin is Annotated:
        bounds = dataclasses.asdict(arguments[1])
        stated = {word: bounds[name] for name, word in BOUNDS.items() if abs(bounds[name]) != float("inf")}
        return _hint_schema(arguments[0]) | stated
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is Mapping:
        return {"type": "object", "additionalProperties": _hint_schema(arguments[1])}
    if hint == tuple[()]:
        return {"type": "array", "maxItems": 0}
    if origin is tuple and arguments[-1] is Ellipsis:
        return {"type": "array", "items": _hint_schema(arguments[0]), "minItems": 1}
    if origin is tuple:
        size = len(arguments)
        return {"type": "array", "items": _hint_schema(arguments[0]), "minItems": size, "maxItems": size}
    return {"type": TYPES[hint]}  # type: ignore[index]  # a type outside the table is a fault of the declaring part


def _hint(made: Json) -> object:
    """The type that `_hint_schema` wrote down."""
    if "anyOf" in made:
        return Union[tuple(_hint(option) for option in made["anyOf"])]  # noqa: UP007 - made at run time
    if "enum" in made:
        return Literal[tuple(made["enum"])]
    if made["type"] == "object":
        return Mapping[str, _hint(made["additionalProperties"])]  # type: ignore[misc]  # made at run time
    if made["type"] == "array":
        if made.get("maxItems") == 0:
            return tuple[()]
        entry = _hint(made["items"])
        entries = (entry,) * made["maxItems"] if "maxItems" in made else (entry, ...)
        return types.GenericAlias(tuple, entries)
    base = next(known for known, name in TYPES.items() if name == made["type"])
    bounds = {name: made[word] for name, word in BOUNDS.items() if word in made}
    return Annotated[base, Range(**bounds)] if bounds else base
