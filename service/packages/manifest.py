"""Reads `manifest.json`, which is not trusted; a refusal is one sentence with the path to the key and the damage.

size ▶ JSON (repeated keys, finite numbers, depth) ▶ schema_version ▶ types (schema.py) ▶ consistency.py
"""

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from pydantic import JsonValue, ValidationError

from service.errors import FileDamaged, ManifestRefused
from service.packages.consistency import find_inconsistencies
from service.packages.files import MANIFEST, read_file
from service.packages.schema import Manifest

SCHEMA_VERSIONS: Final = (1,)
# 65,536 label names and 10,001 points in each of four lists make about 3 MB.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
# The format itself nests five deep; the rest is room for `provenance`, whose content is free.
MAX_DEPTH = 32
MAX_QUOTED = 40  # characters of a manifest's value in a message


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a package's folder; the files that it names are not read.

    Raises:
        ManifestRefused: it is missing or cannot be accepted.
    """
    return parse_manifest(read_manifest_bytes(folder))


def read_manifest_bytes(folder: Path) -> bytes:
    """Read `manifest.json` as bytes, whose SHA-256 identifies the package.

    Raises:
        ManifestRefused: it is missing, too large, or no plain file.
    """
    try:
        return read_file(folder, MANIFEST, MAX_MANIFEST_BYTES)
    except FileDamaged as error:
        raise ManifestRefused(str(error)) from error


def parse_manifest(content: bytes) -> Manifest:
    """Parse `manifest.json` into a manifest that is valid key by key and consistent.

    Raises:
        ManifestRefused: with the path to the first key that is wrong, and what is wrong with it.
    """
    document = _parse_json(content)
    if not isinstance(document, dict):
        _refuse("must hold one JSON object")
    version = document.get("schema_version")
    if type(version) is not int or version not in SCHEMA_VERSIONS:
        accepted = ", ".join(map(str, SCHEMA_VERSIONS))
        _refuse(f"schema_version: is {json.dumps(version)[:MAX_QUOTED]}; this service reads {accepted}")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False)
        path = _path(found[0]["loc"], document)
        _refuse(f"{path}: {found[0]['msg']}" if path else found[0]["msg"], len(found) - 1)
    problems = list(find_inconsistencies(manifest))
    if problems:
        _refuse(problems[0], len(problems) - 1)
    return manifest


def _refuse(damage: str, others: int = 0) -> NoReturn:
    raise ManifestRefused(f"{MANIFEST}: {damage}" + (f" (and {others} more)" if others else ""))


def _parse_json(content: bytes) -> JsonValue:
    try:
        document: JsonValue = json.loads(
            content.decode(),
            object_pairs_hook=_object_with_single_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except ManifestRefused:
        raise
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, a number of thousands of digits
        _refuse(f"not JSON in UTF-8 ({str(error)[:MAX_QUOTED]})")
    if _depth_exceeds(document, MAX_DEPTH):
        _refuse(f"nests deeper than {MAX_DEPTH}")
    return document


def _object_with_single_keys(pairs: list[tuple[str, JsonValue]]) -> dict[str, JsonValue]:
    repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if repeated:
        _refuse(f"{repeated[0][:MAX_QUOTED]}: the key stands there twice")
    return dict(pairs)


def _refuse_constant(name: str) -> NoReturn:
    _refuse(f"holds {name}, which is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        _refuse(f"holds {text[:MAX_QUOTED]}, which is too large for a number")
    return value


def _depth_exceeds(document: JsonValue, limit: int) -> bool:
    level: list[JsonValue] = [document]
    for _ in range(limit):
        level = [child for value in level for child in _children(value)]
        if not level:
            return False
    return True


def _children(value: JsonValue) -> Sequence[JsonValue]:
    match value:
        case dict():
            return list(value.values())
        case list():
            return value
        case _:
            return ()


def _path(loc: Sequence[str | int], document: JsonValue) -> str:
    """A location as a path of keys, without pydantic's own steps (the tag of a union)."""
    path, value = "", document
    for position, step in enumerate(loc):
        if isinstance(step, int):
            path += f"[{step}]"
            value = value[step] if isinstance(value, list) and step < len(value) else None
        elif (isinstance(value, dict) and step in value) or position == len(loc) - 1:
            path += f".{step}" if path else step
            value = value.get(step) if isinstance(value, dict) else None
    return path
