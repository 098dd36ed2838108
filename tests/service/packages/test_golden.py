"""Golden files that are not what the manifest says: each is refused by name, none is unpacked beyond its shape."""

import io
import json
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from service.errors import FileDamaged
from service.packages.manifest import parse_manifest
from service.packages.package import MAX_GOLDEN_BYTES, read_golden
from service.packages.schema import Manifest
from tests.support.toy import toy_files, toy_graphs, toy_manifest
from tests.support.toy_shape import Toy

Arrays = dict[str, NDArray[np.generic]]
FILES = toy_files(toy_graphs())
MANIFEST = parse_manifest(json.dumps(toy_manifest(toy_graphs(), Toy(), FILES)).encode())
GOLDEN = FILES["golden.npz"]


def arrays() -> Arrays:
    with np.load(io.BytesIO(GOLDEN)) as file:
        return dict(file)


def npz(content: Mapping[str, NDArray[np.generic]]) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=True, **content)
    return buffer.getvalue()


def with_entry(name: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The golden file, with one entry replaced or added."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as new, zipfile.ZipFile(io.BytesIO(GOLDEN)) as old:
        for entry in old.infolist():
            if entry.filename != name:
                new.writestr(entry.filename, old.read(entry))
        new.writestr(name, content)
    return buffer.getvalue()


def test_every_tensor_of_every_graph_is_read_as_it_was_written() -> None:
    golden = read_golden(GOLDEN, MANIFEST)
    found = {f"{kind}.{name}": array for kind, tensors in golden.items() for name, array in tensors.items()}
    assert found.keys() == arrays().keys()
    for name, array in arrays().items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_a_compressed_golden_file_is_read_too() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays())
    assert read_golden(buffer.getvalue(), MANIFEST).keys() == {"generator", "discriminator"}


def changed(name: str, array: NDArray[np.generic] | None) -> bytes:
    content = arrays()
    if array is None:
        del content[name]
    else:
        content[name] = array
    return npz(content)


NOT_A_NUMBER = np.full((4, 16), np.nan, np.float32)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not a zip", "not a readable NPZ file"),
        (GOLDEN[:-40], "not a readable NPZ file"),
        (GOLDEN[:200] + bytes(100) + GOLDEN[300:], "."),
        (changed("generator.latent", None), "holds no array generator.latent"),
        (changed("discriminator.extra", np.zeros(4)), r"'discriminator.extra.npy', which is no tensor of the manifest"),
        (changed("generator.latent", np.zeros((4, 17), np.float32)), r"shape \[4, 17\]; expected \[4, 16\]"),
        (changed("generator.latent", np.zeros((3, 16), np.float32)), r"shape \[3, 16\]; expected \[4, 16\]"),
        (changed("generator.latent", np.zeros((4, 16))), "generator.latent has elements of type '<f8'; expected <f4"),
        (changed("generator.latent", np.array([{}] * 4)), "generator.latent has elements of type '|O'"),
        (changed("generator.latent", NOT_A_NUMBER), "generator.latent holds NaN"),
        (with_entry("generator.latent.npy", bytes(10**8)), "generator.latent unpacks to more than the 1280 bytes"),
        (with_entry("generator.latent.npy", b"", zipfile.ZIP_LZMA), "other than store and deflate"),
        (with_entry("../generator.latent.npy", b""), "which is no tensor"),
    ],
)  # fmt: skip
def test_a_golden_file_that_is_not_what_the_manifest_says_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(FileDamaged, match=f"^golden.npz: .*{words}"):
        read_golden(content, MANIFEST)


def test_an_array_that_stands_there_twice_is_refused() -> None:
    content = io.BytesIO(GOLDEN)
    with zipfile.ZipFile(content, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("generator.latent.npy", archive.read("generator.latent.npy"))
    with pytest.raises(FileDamaged, match=r"holds generator.latent twice"):
        read_golden(content.getvalue(), MANIFEST)


def test_golden_vectors_too_large_to_hold_are_refused_by_their_shapes_alone() -> None:
    document = json.loads(MANIFEST.model_dump_json(exclude_unset=True))
    document["latent"]["size"] = document["generator"]["inputs"][0]["shape"][1] = 65536
    document["sample"] |= {"height": 4096, "width": 4096}
    for graph, tensors in (("generator", "outputs"), ("discriminator", "inputs")):
        for tensor in document[graph][tensors]:
            tensor["shape"] = [4096 if axis == 8 else axis for axis in tensor["shape"]]
    manifest: Manifest = parse_manifest(json.dumps(document).encode())
    with pytest.raises(FileDamaged, match=f"golden.npz: would unpack to .* at most {MAX_GOLDEN_BYTES}"):
        read_golden(b"", manifest)
