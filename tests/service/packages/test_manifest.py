"""What is refused before a key is even looked at: files that are no manifest, and JSON that two parsers read apart."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.errors import ManifestRefused
from service.packages.manifest import MAX_MANIFEST_BYTES, parse_manifest, read_manifest
from tests.support.toy import write_toy_package


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return (write_toy_package(tmp_path_factory.mktemp("models")) / "manifest.json").read_text()


def test_a_folder_without_a_manifest_is_told_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ManifestRefused, match=r"^manifest.json: the file is missing$"):
        read_manifest(tmp_path)


def test_a_manifest_of_many_megabytes_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "manifest.json").open("wb") as file:
        file.truncate(MAX_MANIFEST_BYTES + 1)
    with pytest.raises(ManifestRefused, match=r"manifest.json: 4194305 bytes; at most 4194304 are read"):
        read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON in UTF-8"),
        (b"[" * 100_000, "not JSON"),
        (b"1" * 10_000, "not JSON"),
        (b"[]", "must hold one JSON object"),
        (b"null", "must hold one JSON object"),
        (b"{}", "schema_version: is null; this service reads 1"),
        (b'{"schema_version": 1.0}', "schema_version: is 1.0; this service reads 1"),
        (b'{"schema_version": true}', "schema_version: is true; this service reads 1"),
        (b'{"schema_version": 2, "whatever": "may come"}', "schema_version: is 2; this service reads 1"),
        (b'{"schema_version": 1, "schema_version": 2}', "schema_version: the key stands there twice"),
        (b'{"schema_version": 1, "a": {"b": 1, "b": 1}}', "b: the key stands there twice"),
        (b'{"schema_version": 1, "a": NaN}', "holds NaN, which is not JSON"),
        (b'{"schema_version": 1, "a": -Infinity}', "holds -Infinity, which is not JSON"),
        (b'{"schema_version": 1, "a": 1e999}', "holds 1e999, which is too large for a number"),
        (b'{"schema_version": 1, "a": ' + b"[" * 40 + b"]" * 40 + b"}", "nests deeper than 32"),
        (b'{"schema_version": 1, "name": "\\ud800"}', "Invalid JSON: "),
    ],
)
def test_what_is_not_plain_json_of_a_known_version_is_refused_with_the_reason(content: bytes, words: str) -> None:
    with pytest.raises(ManifestRefused, match=f"^manifest.json: {words}"):
        parse_manifest(content)


def test_a_manifest_cut_off_anywhere_is_refused(toy: str) -> None:
    for length in range(0, len(toy) - 1, 97):
        with pytest.raises(ManifestRefused, match=r"^manifest.json: not JSON"):
            parse_manifest(toy[:length].encode())


def test_nan_among_the_quantiles_is_refused(toy: str) -> None:
    manifest = json.loads(toy)
    manifest["discriminator"]["reference_quantiles"]["real"][3] = float("nan")
    with pytest.raises(ManifestRefused, match="NaN"):
        parse_manifest(json.dumps(manifest).encode())


def test_several_damages_are_counted_and_the_first_is_told(toy: str) -> None:
    manifest = json.loads(toy)
    manifest["latent"]["size"] = manifest["golden"]["count"] = 0
    with pytest.raises(ManifestRefused, match=r"^manifest.json: latent.size: .* \(and 1 more\)$"):
        parse_manifest(json.dumps(manifest).encode())


@given(st.binary(max_size=200))
def test_random_bytes_are_refused_and_never_a_fault(content: bytes) -> None:
    with pytest.raises(ManifestRefused):
        parse_manifest(content)
