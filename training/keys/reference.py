"""The page that lists every key, from the schema."""

import json
from collections.abc import Iterator

from training.errors import ConfigError
from training.keys import json_schema
from training.keys.json_schema import Json
from training.tables import nearest


def reference(section: str | None = None) -> Iterator[str]:
    """The page that lists every key.

    Args:
        section: of one table alone, such as `trainer`; None lists all.

    Yields:
        Lines of Markdown.

    Raises:
        ConfigError: if there is no such table.
    """
    whole, sections = json_schema.shipped(), json_schema.sections()
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
