"""Every key that a configuration may have, as data: `training/configs/schema.json`, a JSON Schema made from the code.

    dataclasses ──schema──▶ schema.json ──┬─▶ an editor that completes and checks TOML
                                          ├─▶ reference: the page for people
                                          └─▶ check: a mistake is found before torch, which takes seconds, is imported

`training.config` reads a configuration by the same dataclasses, and a test compares the file with them.
"""

import dataclasses
import inspect
import json
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from training.errors import ConfigError
from training.tables import Key, Part, Range, check_keys, known_kind, nearest, parse

SHIPPED: Final = Path(__file__).parent / "configs"
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


def find(name_or_path: str) -> Path:
    """Find a configuration by its path or by the stem of a shipped one.

    Args:
        name_or_path: such as `my/run.toml` or `r3gan-mnist`.

    Raises:
        ConfigError: if there is neither.
    """
    path = Path(name_or_path)
    if path.is_file():
        return path
    shipped = {file.stem: file for file in SHIPPED.glob("*.toml")}
    if name_or_path in shipped:
        return shipped[name_or_path]
    raise ConfigError(f"there is no configuration {name_or_path}{nearest(path.stem, shipped)}")


def check_file(path: Path) -> None:
    """Find what is wrong with a file's keys, as `check`, with the file's name; one that cannot be read is left alone.

    Raises:
        ConfigError: as `training.config.load` words it.
    """
    try:
        check(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def check(source: str) -> None:
    """Find what is wrong with the keys of a configuration; constraints between keys are checked by `training.config`.

    Args:
        source: TOML.

    Raises:
        ConfigError: as `training.config.loads` words it.
    """
    tables = parse(source)
    whole = shipped()
    sections = {name: section for name, section in whole["properties"].items() if _is_section(section)}
    header = {key: value for key, value in tables.items() if key not in sections}
    for key, value in header.items():
        if isinstance(value, dict):
            raise ConfigError(f"there is no table [{key}]{nearest(key, sections)}")
    check_keys(header, _keys(whole, leave_out=sections), "the top level")
    for name, section in sections.items():
        table = tables.get(name, {})
        if isinstance(table, dict) and (table or name in whole["required"]):
            _check_section(dict(table), section, f"[{name}]")


def reference(section: str | None = None) -> Iterator[str]:
    """The page that lists every key.

    Args:
        section: of one table alone, such as `trainer`; None lists all.

    Yields:
        Lines of Markdown.

    Raises:
        ConfigError: if there is no such table.
    """
    whole = shipped()
    sections = {name: part for name, part in whole["properties"].items() if _is_section(part)}
    if section is None:
        yield "# Every key of a configuration"
        yield ""
        yield "Made from the code by `python -m training keys`; `python -m training keys trainer` prints one table. An"
        yield "editor that knows JSON Schema completes and checks keys where the TOML file begins with"
        yield "`#:schema …/training/configs/schema.json`. A key without a default must be given."
        yield ""
        yield from _rows({**whole, "properties": {k: v for k, v in whole["properties"].items() if k not in sections}})
        chosen = list(sections)
    elif section in sections:
        chosen = [section]
    else:
        raise ConfigError(f"there is no table [{section}]{nearest(section, sections)}")
    for name in chosen:
        part = sections[name]
        yield from ("", f"## `[{name}]`", "")
        if "oneOf" not in part:
            yield part["description"]
            yield from ("", *_rows(part))
        for variant in part.get("oneOf", ()):
            kind = variant["properties"]["kind"]["const"]
            default = " (the default)" if part.get("default") == kind else ""
            yield from (f'### `kind = "{kind}"`{default}', "", variant["description"], "", *_rows(variant), "")


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


def _is_section(made: Json) -> bool:
    return "oneOf" in made or "properties" in made


def _keys(table: Json, leave_out: Iterable[str] = ("kind",)) -> dict[str, Key]:
    return {
        name: Key(_hint(made), required=name in table["required"])
        for name, made in table["properties"].items()
        if name not in leave_out
    }


def _check_section(table: dict[str, object], section: Json, where: str) -> None:
    if "oneOf" not in section:
        check_keys(table, _keys(section), where)
        return
    variants = {variant["properties"]["kind"]["const"]: variant for variant in section["oneOf"]}
    kind = known_kind(table.pop("kind", section.get("default")), variants, where)
    check_keys(table, _keys(variants[kind]), where)


def _rows(table: Json) -> Iterator[str]:
    """The keys of a table as a table of Markdown."""
    keys = {name: made for name, made in table["properties"].items() if name != "kind"}
    if not keys:
        yield "No other keys."
        return
    yield "| key | value | default | |"
    yield "| --- | --- | --- | --- |"
    for name, made in keys.items():
        default = f"`{_literal(made['default'])}`" if "default" in made else ""
        yield f"| `{name}` | {_value(made)} | {default} | {made['description']} |"


def _literal(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _value(made: Json) -> str:
    """The values of a key, in words."""
    if "anyOf" in made:
        return " or ".join(_value(option) for option in made["anyOf"])
    if "enum" in made:
        return ", ".join(f"`{_literal(choice)}`" for choice in made["enum"])
    if made["type"] == "array":
        if made.get("maxItems") == 0:
            return "`[]`"
        count = "" if "maxItems" not in made else f"{made['maxItems']} × "
        return f"list of {count}{_value(made['items'])}"
    if made["type"] == "object":
        return f"table of names, each {_value(made['additionalProperties'])}"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = ", ".join(f"{sign} {made[word]:g}" for word, sign in signs.items() if word in made)
    words = {"boolean": "`true` or `false`", "integer": "integer", "number": "number", "string": "text"}
    return f"{words[made['type']]} {bounds}".strip()
