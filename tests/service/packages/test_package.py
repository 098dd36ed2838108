"""From a folder to the engine's words."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import FileDamaged, ManifestRefused
from service.packages.package import Package, engine_graphs, read_package
from tests.support.toy import republish, toy_graphs, write_toy_package
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


def npy(array: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_the_reference_sample_is_the_files_own_bytes(tmp_path: Path) -> None:
    folder = write_toy_package(tmp_path, kind="vector", reference_count=5)
    assert read_package(folder).reference == (folder / "reference.npy").read_bytes()
    assert read_package(write_toy_package(tmp_path, "bare", kind="vector")).reference is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"no array", "is not an NPY file"),
        (npy(np.zeros((5, 3))), "has elements of type '<f8'; expected <f4"),
        (npy(np.zeros((5, 2), np.float32)), r"has shape \[5, 2\]; expected \[5, 3\]"),
        (npy(np.zeros((4, 3), np.float32)), r"has shape \[4, 3\]; expected \[5, 3\]"),
        (npy(np.zeros((500, 3), np.float32)), "unpacks to more than the 1084 bytes"),
        (npy(np.full((5, 3), np.inf, np.float32)), "holds NaN or infinity"),
        (npy(np.zeros((5, 3), np.float32))[:-1], "must hold 60 bytes after its header"),
    ],
)
def test_a_reference_sample_that_is_not_what_the_manifest_says_is_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    folder = write_toy_package(tmp_path, kind="vector", vector_size=3, reference_count=5)
    republish(folder, {"reference.npy": content})
    with pytest.raises(FileDamaged, match=f"^reference.npy: the array {words}"):
        read_package(folder)
