"""The format in prose says everything that the format is."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.packages.manifest import MAX_DEPTH, MAX_MANIFEST_BYTES
from service.packages.package import MAX_GOLDEN_BYTES
from tests.contract.manifests import Json

MODELS = Path(__file__).parents[2] / "models"
README = (MODELS / "README.md").read_text()
SCHEMA = json.loads((MODELS / "manifest.schema.json").read_text())
WORDS = {word for code in re.findall(r"`([^`\n]+)`", README) for word in re.findall(r"[A-Za-z0-9_]+", code)}


def terms(schema: Json) -> Iterator[str]:
    """Every key and every word of a fixed set that a manifest may hold."""
    if isinstance(schema, list):
        for part in schema:
            yield from terms(part)
    if not isinstance(schema, dict):
        return
    yield from schema.get("properties", {})
    for word in (*schema.get("enum", ()), schema.get("const")):
        if isinstance(word, str) and word != "manifest.json":
            yield word
    for part in schema.values():
        yield from terms(part)


@pytest.mark.parametrize("term", sorted(set(terms(SCHEMA))))
def test_every_key_and_word_of_the_schema_is_explained(term: str) -> None:
    assert term in WORDS


def test_the_limits_are_those_of_the_reader() -> None:
    assert f"at most {MAX_MANIFEST_BYTES // 2**20} MiB" in README
    assert f"at most {MAX_DEPTH} deep" in README
    assert f"{MAX_GOLDEN_BYTES // 2**20} MiB" in README
