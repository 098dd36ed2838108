"""From a folder to the engine's words, and which of the packages that the format allows are not served."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import ManifestRefused
from service.packages.manifest import parse_manifest
from service.packages.package import Package, engine_graphs, read_package
from tests.toy import toy_graphs, write_toy_package


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return read_package(write_toy_package(tmp_path, conditional=True, pack=2, sample_range=(0.0, 1.0)))


def test_the_engine_is_told_exactly_what_the_exporter_wrote(package: Package) -> None:
    told, written = engine_graphs(package), toy_graphs(conditional=True, pack=2, sample_range=(0.0, 1.0))
    assert told.discriminator is not None
    assert written.discriminator is not None
    for graph, expected in ((told.generator, written.generator), (told.discriminator, written.discriminator)):
        assert graph.model == expected.model
        assert graph.golden.keys() == expected.golden.keys()
        for name, array in expected.golden.items():
            np.testing.assert_array_equal(graph.golden[name], array)
        assert replace(graph, golden={}) == replace(expected, golden={})
    assert replace(told, generator=written.generator, discriminator=None) == replace(written, discriminator=None)


def add_codes(manifest: dict[str, Any]) -> None:
    manifest["codes"] = {"categorical": [{"name": "digit", "size": 10}], "continuous": []}
    code = {"name": "code", "datatype": "FP32", "shape": [-1, 10], "role": "code"}
    manifest["generator"]["inputs"].append(code)


def add_condition(manifest: dict[str, Any]) -> None:
    manifest["condition"] = {"name": "user", "count": 10}
    condition = {"name": "user", "datatype": "INT64", "shape": [-1], "role": "condition"}
    manifest["generator"]["inputs"].append(condition)


def judge_latents(manifest: dict[str, Any]) -> None:
    manifest["discriminator"]["inputs"].append(manifest["generator"]["inputs"][0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (add_codes, "codes: this service does not serve codes"),
        (add_condition, "condition: this service does not serve conditions"),
        (judge_latents, "discriminator.inputs: this service does not serve discriminators that judge a latent"),
    ],
)
def test_a_valid_package_that_is_not_served_is_refused_by_what_it_asks_for(
    package: Package, change: Callable[[dict[str, Any]], None], words: str
) -> None:
    document = json.loads(package.manifest.model_dump_json(exclude_unset=True))
    change(document)
    with pytest.raises(ManifestRefused, match=f"^manifest.json: {words}$"):
        engine_graphs(replace(package, manifest=parse_manifest(json.dumps(document).encode())))
