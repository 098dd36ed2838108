"""Which version answers a request, and what the others say instead."""

import pytest

from service.engine.model_spec import GraphReport, LoadReport, PackageKey
from service.errors import NotFound, NotReady
from service.packages.manifest import read_manifest
from service.packages.registry import PackageRegistry, PackageStatus, ServedPackage, State
from service.packages.schema import Manifest
from tests.support.toy import write_toy_package
from tests.support.toy_shape import PLAIN

GRAPH = GraphReport("CPUExecutionProvider", (1,), True, 0.0, 0.0, "", "onnxruntime 1.31.1", "fp32", None)
REPORT = LoadReport(GRAPH, None, None, 0.0, PLAIN)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Manifest:
    return read_manifest(write_toy_package(tmp_path_factory.mktemp("models")))


def registry(manifest: Manifest, **states: State) -> PackageRegistry:
    """Versions `v1`, `v2`, … of the default model, where they stand, and another model that is ready."""
    made = PackageRegistry("toy")
    made.open()
    stands = {PackageKey("toy", int(version.removeprefix("v"))): state for version, state in states.items()}
    for key, state in (stands | {PackageKey("other", 1): "ready"}).items():
        package = ServedPackage(key, manifest, "", None, REPORT) if state == "ready" else None
        made.note(PackageStatus(key, state, package=package))
    return made


def test_the_newest_version_that_is_ready_answers_whatever_becomes_of_newer_ones(manifest: Manifest) -> None:
    states = registry(manifest, v9="ready", v10="ready", v11="refused", v12="loading", v13="unloading", v14="unloaded")
    assert states.find().key == PackageKey("toy", 10)
    assert states.find("toy", "9").key == states.find("toy", 9).key == PackageKey("toy", 9)
    assert [status.key.version for status in states.statuses("toy")] == [14, 13, 12, 11, 10, 9]
    assert [status.key.name for status in states.statuses()] == ["other"] + 6 * ["toy"]


@pytest.mark.parametrize("state", ["refused", "unloading", "unloaded"])
def test_a_version_that_does_not_answer_is_not_found(manifest: Manifest, state: State) -> None:
    for version in (None, 1):
        with pytest.raises(NotFound, match=r"that is ready; there are: other/1\.$"):
            registry(manifest, v1=state).find("toy", version)


def test_a_version_that_is_on_its_way_is_not_ready_but_holds_no_other_up(manifest: Manifest) -> None:
    states = registry(manifest, v1="ready", v2="loading")
    assert states.find().key.version == 1
    with pytest.raises(NotReady, match="toy, version 2 is still loading"):
        states.find("toy", 2)


def test_before_anything_was_looked_for_nothing_can_be_said_not_to_exist() -> None:
    states = PackageRegistry("toy")
    with pytest.raises(NotReady):
        states.find("nobody")
    states.open()
    with pytest.raises(NotFound, match="there are: none"):
        states.find("nobody")


def test_the_alias_means_the_default_model_unless_there_is_one_of_this_name(manifest: Manifest) -> None:
    states = PackageRegistry("toy", "other")
    states.open()
    for name in ("toy", "other"):
        key = PackageKey(name, 1)
        states.note(PackageStatus(key, "ready", package=ServedPackage(key, manifest, "", None, REPORT)))
        assert states.find("other").key == states.find("other", 1).key == key
    states.forget(PackageKey("other", 1))
    assert states.find("other").key.name == "toy"
    with pytest.raises(NotFound, match="There is no model other, version 9") as refused:
        states.find("other", 9)
    assert "toy/1" in str(refused.value)
