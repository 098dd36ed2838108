"""Only plain files of the folder itself are read, and only those that are what the manifest says."""

import hashlib
import os
import re
import resource
from pathlib import Path

import pytest

from service.errors import FileDamaged
from service.packages.files import AT_ONCE_BYTES, read_file, read_verified

CONTENT = b"the weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "package").mkdir()
    (tmp_path / "package/weights.onnx").write_bytes(CONTENT)
    return tmp_path / "package"


def test_a_file_with_the_stated_size_and_hash_is_read(folder: Path) -> None:
    assert read_verified(folder, "weights.onnx", len(CONTENT), SHA256) == CONTENT


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(FileDamaged, match=re.escape("other.onnx: the file is missing")):
        read_file(folder, "other.onnx", 100)


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"!", b""])
def test_another_size_is_told_with_both_sizes(folder: Path, content: bytes) -> None:
    (folder / "weights.onnx").write_bytes(content)
    with pytest.raises(FileDamaged, match=rf"weights.onnx: .*\b{len(content)}\b") as damage:
        read_verified(folder, "weights.onnx", len(CONTENT), SHA256)
    assert str(len(CONTENT)) in str(damage.value)


def test_another_content_of_the_same_size_is_told_with_both_hashes(folder: Path) -> None:
    (folder / "weights.onnx").write_bytes(b"The weights")
    found = hashlib.sha256(b"The weights").hexdigest()
    with pytest.raises(FileDamaged, match=f"weights.onnx: SHA-256 {SHA256} expected, {found} found"):
        read_verified(folder, "weights.onnx", len(CONTENT), SHA256)


def test_a_link_is_not_followed_wherever_it_points(folder: Path) -> None:
    (folder.parent / "secret").write_bytes(CONTENT)
    (folder / "outside.onnx").symlink_to(folder.parent / "secret")
    (folder / "inside.onnx").symlink_to("weights.onnx")
    for name in ("outside.onnx", "inside.onnx"):
        with pytest.raises(FileDamaged, match=f"{name}: not a plain file"):
            read_verified(folder, name, len(CONTENT), SHA256)


def test_a_pipe_is_refused_without_waiting_for_its_writer(folder: Path) -> None:
    os.mkfifo(folder / "pipe.onnx")
    with pytest.raises(FileDamaged, match=r"pipe.onnx: not a plain file"):
        read_file(folder, "pipe.onnx", 100)


def test_a_folder_in_a_files_place_is_refused(folder: Path) -> None:
    (folder / "folder.onnx").mkdir()
    with pytest.raises(FileDamaged, match=r"folder.onnx: not a plain file"):
        read_file(folder, "folder.onnx", 100)


def test_a_file_beyond_the_limit_is_not_read(folder: Path) -> None:
    with pytest.raises(FileDamaged, match=r"weights.onnx: 11 bytes; at most 10 are read"):
        read_file(folder, "weights.onnx", 10)


def test_a_large_file_that_is_another_is_refused_without_being_held(folder: Path) -> None:
    size = 2**31 - 1
    with (folder / "sparse.onnx").open("wb") as file:
        file.truncate(size)
    before = peak_bytes()
    with pytest.raises(FileDamaged, match=r"sparse.onnx: SHA-256 .* expected"):
        read_verified(folder, "sparse.onnx", size, SHA256)
    assert peak_bytes() - before < 64 * 2**20


def test_a_large_file_that_is_what_it_should_be_is_read(folder: Path) -> None:
    content = bytes(AT_ONCE_BYTES + 1)
    (folder / "large.onnx").write_bytes(content)
    assert read_verified(folder, "large.onnx", len(content), hashlib.sha256(content).hexdigest()) == content


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
