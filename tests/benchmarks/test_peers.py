"""Each peer that is installed here, for real: it answers what the shared work computes, alone and in batches.

An environment takes minutes to make, so a peer that is not installed (`python -m benchmarks environments NAME`) is
passed over.
"""

import importlib.util
import json
from base64 import b64encode
from pathlib import Path
from types import ModuleType

import pytest

from benchmarks import workplace
from benchmarks.contenders import environments
from benchmarks.contenders.contenders import (
    PEERS_BY_NAME,
    SCRIPTS,
    Peer,
    Setting,
    free_port,
    list_work,
    mlserver_work,
    package_of,
)
from benchmarks.contenders.server import Server, ask
from benchmarks.experiments import serving

NETWORK = "zero"
PIXELS = (28, 28, 1)
ALONE = Setting(network=NETWORK)
BATCHED = Setting(network=NETWORK, workers=2, batch=2)
URL = "http://127.0.0.1/pixels"


@pytest.fixture
def shared_work(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The peers' share of the work, as one of them would import it."""
    monkeypatch.setenv("BENCH_MODEL", str(ALONE.model))
    spec = importlib.util.spec_from_file_location("peers_work", SCRIPTS / "work.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("setting", [ALONE, BATCHED], ids=["alone", "batched"])
@pytest.mark.parametrize("peer", PEERS_BY_NAME.values(), ids=PEERS_BY_NAME)
def test_a_peer_answers_what_the_shared_work_computes(peer: Peer, setting: Setting, shared_work: ModuleType) -> None:
    if not environments.is_ready(peer):
        pytest.skip(f"{peer.name} is not installed")
    workplace.prepare()
    port = free_port()
    work = peer.work(setting, port, 3)
    (expected,) = shared_work.Generator().pixels([(7, 3)])
    with Server(peer.launch(setting, port)) as server:
        server.first_answer(work)
        serving.check(work, PIXELS)
        assert (b64encode(expected) if work.in_base64 else expected) in ask(work, 7)


def test_a_body_for_batches_that_are_lists_is_a_list_of_one() -> None:
    assert json.loads(list_work(URL, 16).body(7)) == [{"n": 16, "seed": 7}]


def test_a_body_for_mlserver_names_its_answer() -> None:
    body = json.loads(mlserver_work(URL, 16).body(7))
    assert body["id"] == "0"
    assert {tensor["name"]: tensor["data"] for tensor in body["inputs"]} == {"count": [16], "first": [7]}


@pytest.mark.parametrize("requirement", ["ray", "ray==2.60.0", "ray[serve,haproxy]==2.60.0"])
def test_a_package_is_named_without_extras_and_version(requirement: str) -> None:
    assert package_of(requirement) == "ray"


def test_an_environment_of_other_versions_is_not_ready(tmp_path: Path) -> None:
    peer = Peer(name=str(tmp_path), requirements=("one==1",), path="/", script="none.py")
    ready = peer.environment / environments.READY
    assert not environments.is_ready(peer)
    ready.write_text("\n".join(environments.packages(peer)), encoding="utf-8")
    assert environments.is_ready(peer)
    ready.write_text(ready.read_text(encoding="utf-8").replace("one==1", "one==2"), encoding="utf-8")
    assert not environments.is_ready(peer)
