"""Configurations as tables: found, read, checked against the schema, and changed by `--set`."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from training.errors import ConfigError
from training.keys import json_schema
from training.keys.json_schema import SHIPPED
from training.tables import check_keys, nearest, parse, parse_setting

Tables = dict[str, object]


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


def read(path: Path) -> Tables:
    """Read the tables of a configuration file.

    Raises:
        ConfigError: with the file's name.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, ConfigError) as error:
        raise ConfigError(f"{path}: {error}") from error


def check_file(path: Path) -> Tables:
    """Read the tables of a configuration file, and check them as `check` does.

    Raises:
        ConfigError: with the file's name.
    """
    tables = read(path)
    try:
        check(tables)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error
    return tables


def check(tables: Mapping[str, object]) -> None:
    """Find what is wrong with the keys of a configuration; constraints between keys are checked by `training.config`.

    Args:
        tables: the keys outside any table, and the tables by name.

    Raises:
        ConfigError: as `training.config.loads` words it.
    """
    whole, sections = json_schema.shipped(), json_schema.sections()
    header = {key: value for key, value in tables.items() if key not in sections}
    for key, value in header.items():
        if isinstance(value, dict):
            raise ConfigError(f"there is no table [{key}]{nearest(key, sections)}")
    check_keys(header, json_schema.keys_of(whole, leave_out=sections), "the top level")
    for name, section in sections.items():
        table = tables.get(name, {})
        if isinstance(table, dict) and (table or name in whole["required"]):
            _check_section(dict(table), section, f"[{name}]")


class Setting(NamedTuple):
    """A key that was set beside the file; `former` is what it was there or by default, and None is no value."""

    place: str
    value: object
    former: object

    def __str__(self) -> str:
        """Such as `trainer.batch_size = 128 (was 64)`."""
        now = "left out" if self.value is None else f"= {json.dumps(self.value, ensure_ascii=False, default=str)}"
        was = f" (was {json.dumps(self.former, ensure_ascii=False, default=str)})"
        return f"{self.place} {now}{'' if self.former in (None, self.value) else was}"


def assign(tables: Mapping[str, object], settings: Iterable[str]) -> tuple[Tables, list[Setting]]:
    """Set keys of a configuration.

    Args:
        tables: as `read` returns them.
        settings: `TABLE.KEY=VALUE` or `KEY=VALUE` each; the last one for a key counts.

    Returns:
        The new tables, and what was set. A table that gets another kind keeps only those keys that this kind has, too.

    Raises:
        ConfigError: one sentence that names the setting and the nearest key.
    """
    made = {name: dict(table) if isinstance(table, dict) else table for name, table in tables.items()}
    parsed = [(*parse_setting(text), text) for text in settings]
    done: dict[str, Setting] = {}
    for words, value, text in sorted(parsed, key=lambda setting: setting[0][1:] != ["kind"]):  # a kind decides on keys
        try:
            changes = _assign(made, words, value)
        except ConfigError as error:
            raise ConfigError(f"--set {text}: {error}") from error
        for change in changes:
            done[change.place] = change._replace(former=done.get(change.place, change).former)
    try:
        check(made)
    except ConfigError as error:
        raise ConfigError(" ".join(f"--set {text}" for *_, text in parsed) + f": {error}") from error
    return made, list(done.values())


def _assign(tables: dict[str, Any], words: list[str], value: object) -> list[Setting]:
    """Set one key; its value is checked afterwards."""
    sections = json_schema.sections()
    if len(words) == 1:
        return [_put(tables, _top_level(words[0], sections), words[0], words[0], value)]
    name, key = words[0], ".".join(words[1:])
    if name not in sections:
        raise ConfigError(f"there is no table [{name}]{nearest(name, sections)}")
    section, table = sections[name], tables.setdefault(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{name} is {json.dumps(table, default=str)} but must be a table, [{name}]")
    of_kind = key == "kind" and "oneOf" in section
    variant = json_schema.variant(section, value if of_kind else table.get("kind"), f"[{name}]")
    if not of_kind:
        return [_put(table, variant, key, f"{name}.{key}", value)]
    former = table.pop("kind", section.get("default"))
    lost = {key: table.pop(key) for key in list(table) if key not in variant["properties"]}
    table["kind"] = value
    return [Setting(f"{name}.kind", value, former), *(Setting(f"{name}.{key}", None, lost[key]) for key in lost)]


def _top_level(key: str, sections: dict[str, json_schema.Json]) -> json_schema.Json:
    """The schema of the keys outside any table; refuse a key that is inside one."""
    whole = json_schema.shipped()
    places = [
        f"{name}.{key}"
        for name, section in sections.items()
        if any(key in made["properties"] for made in section.get("oneOf", [section]))
    ]
    if places and key not in whole["properties"]:
        raise ConfigError(f"the key is in a table; write {' or '.join(places)}")
    if key in sections:
        raise ConfigError(f"[{key}] is a table; name one of its keys, as in {key}.KEY=VALUE")
    return whole


def _put(table: dict[str, Any], section: json_schema.Json, key: str, place: str, value: object) -> Setting:
    former = table.get(key, section["properties"].get(key, {}).get("default"))
    table[key] = value
    return Setting(place, value, former)


def _check_section(table: dict[str, object], section: json_schema.Json, where: str) -> None:
    known = json_schema.keys_of(json_schema.variant(section, table.get("kind"), where))
    check_keys({key: value for key, value in table.items() if key != "kind" or "oneOf" not in section}, known, where)
