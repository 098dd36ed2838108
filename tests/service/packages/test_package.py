"""From a folder to the engine's words."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from service.errors import ManifestRefused
from service.packages.package import Package, engine_graphs, read_package
from tests.support.toy import toy_graphs, write_toy_package
from tests.support.toy_shape import ToyOptions


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


@pytest.mark.parametrize(
    "options",
    [
        ToyOptions(categorical=(10, 3), continuous=((-1.0, 1.0),), encoder=True),
        ToyOptions(encoder=True, discriminator=False),
        ToyOptions(kind="vector", vector_size=3),
        ToyOptions(kind="item", condition_count=5, prior="gumbel"),
    ],
    ids=["codes", "encoder", "vectors", "items"],
)
def test_every_member_of_the_family_is_told_as_it_was_written(tmp_path: Path, options: ToyOptions) -> None:
    told, written = engine_graphs(read_package(write_toy_package(tmp_path, **options))), toy_graphs(**options)
    for graph, expected in (
        (told.generator, written.generator),
        (told.discriminator, written.discriminator),
        (told.encoder, written.encoder),
    ):
        assert (graph is None) == (expected is None)
        if graph is not None and expected is not None:
            assert replace(graph, golden={}) == replace(expected, golden={})
            assert graph.golden.keys() == expected.golden.keys()
    bare = replace(told, generator=written.generator, discriminator=None, encoder=None)
    assert bare == replace(written, discriminator=None, encoder=None)


def test_a_package_that_states_more_bytes_than_a_process_should_hold_is_refused_unread(tmp_path: Path) -> None:
    folder = write_toy_package(tmp_path)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"] |= {f"part{i}.bin": {"size": 2**31 - 1, "sha256": "0" * 64} for i in range(3)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        ManifestRefused, match=r"^manifest.json: files: take 64\d{8} bytes; at most 4294967296 are read$"
    ):
        read_package(folder)
