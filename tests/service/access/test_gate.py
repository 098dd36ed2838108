"""Which requests the gate lets in, by path and headers."""

import pytest

from service.access.gate import Gate
from service.access.key_file import KeyFile, make_key
from service.access.keys import Entry
from service.errors import Unauthorized


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gate, str]:
    """A gate, and a key that it knows."""
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    key, _ = make_key("alice", Entry(sha256="0" * 64), path)
    file = KeyFile(path)
    file.read()
    return Gate(file, {"/", "/healthz"}, ["/docs/assets/"]), key


@pytest.mark.parametrize("path", ["/", "/healthz", "/docs/assets/x.js"])
def test_a_path_that_is_open_needs_no_key(known: tuple[Gate, str], path: str) -> None:
    gate, _ = known
    assert gate.key_of(path, {"authorization": "Bearer wrong"}) is None


@pytest.mark.parametrize(
    "path", ["/generate", "//", "/healthz/", "/healthz\n", "//healthz", "/docs/assets", "/nothing", "", "*", "/HEALTHZ"]
)
def test_every_other_path_needs_one(known: tuple[Gate, str], path: str) -> None:
    gate, key = known
    with pytest.raises(Unauthorized, match="needs a key"):
        gate.key_of(path, {})
    found = gate.key_of(path, {"x-api-key": key})
    assert found is not None
    assert found.name == "alice"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "Bearer {key}"},
        {"authorization": "bearer {key}"},
        {"authorization": "BEARER   {key} "},
        {"x-api-key": "{key}"},
        {"authorization": "Basic dXNlcjp4", "x-api-key": "{key}"},
        {"authorization": "Bearer {key}", "x-api-key": "{key}"},
    ],
)
def test_a_key_comes_in_either_header(known: tuple[Gate, str], headers: dict[str, str]) -> None:
    gate, key = known
    found = gate.key_of("/generate", {name: value.format(key=key) for name, value in headers.items()})
    assert found is not None
    assert found.name == "alice"


@pytest.mark.parametrize(
    "headers",
    [
        {"authorization": "{key}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Bearer{key}"},
        {"authorization": "Bearer\t{key}"},
        {"authorization": "Bearer {key}, Bearer {key}"},
        {"authorization": "Basic {key}"},
        {"authorization": "Bearer {key}", "x-api-key": ""},
        {"authorization": "Bearer {key}", "x-api-key": "ganymede_another"},
        {"x-api-key": "{key}, {key}"},
        {"x-api-key": "{key}x"},
        {"x-api-key": ""},
        {"x-api-key": "é" * 40},
        {"x-api-key": "x" * 30_000},
        {"cookie": "key={key}"},
        {"proxy-authorization": "Bearer {key}"},
    ],
)
def test_anything_else_is_no_key_and_is_not_repeated(known: tuple[Gate, str], headers: dict[str, str]) -> None:
    gate, key = known
    with pytest.raises(Unauthorized) as refused:
        gate.key_of("/generate", {name: value.format(key=key) for name, value in headers.items()})
    assert key not in str(refused.value)
    assert len(str(refused.value)) < 200
