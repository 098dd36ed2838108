"""Publishing: all at once or not at all, and never over what is there."""

import resource
from pathlib import Path

import pytest

from tests.support import small
from training.errors import ExportError
from training.export.publish import choose_version, publish

FILES = {"manifest.json": b"{}", "generator.onnx": b"graph"}

# So many files that a kill falls into the writing of them.
PUBLISHER = """
import sys
from pathlib import Path
from training.export.publish import publish
publish({f"file{number}.bin": bytes(50_000) for number in range(5_000)}, Path(sys.argv[1]), "digits", 1)
"""


def test_a_package_has_its_files_and_anybody_may_read_it(tmp_path: Path) -> None:
    package = publish(FILES, tmp_path / "models", "digits", 1)
    assert package == tmp_path / "models" / "digits" / "1"
    assert {path.name: path.read_bytes() for path in package.iterdir()} == FILES
    assert package.stat().st_mode & 0o777 == 0o755
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in package.iterdir())
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["digits"]


def test_versions_count_on_from_the_newest(tmp_path: Path) -> None:
    assert choose_version(tmp_path, "digits", None) == 1
    for version in (1, 2, 10):
        publish(FILES, tmp_path, "digits", version)
    (tmp_path / "digits" / "notes").mkdir()
    assert choose_version(tmp_path, "digits", None) == 11
    assert choose_version(tmp_path, "digits", 5) == 5
    assert choose_version(tmp_path, "other", None) == 1


def test_a_version_that_exists_is_refused_before_and_while_publishing(tmp_path: Path) -> None:
    publish(FILES, tmp_path, "digits", 1)
    with pytest.raises(ExportError, match="digits/1 exists, and a package never changes"):
        choose_version(tmp_path, "digits", 1)
    with pytest.raises(ExportError, match="came into being meanwhile"):
        publish({"manifest.json": b"other"}, tmp_path, "digits", 1)
    assert (tmp_path / "digits" / "1" / "manifest.json").read_bytes() == b"{}"
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


@pytest.mark.parametrize("name", ["", "Digits", "../up", "a/b", ".hidden", "x" * 65])
def test_a_name_that_the_format_does_not_allow_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExportError, match="cannot name a package"):
        choose_version(tmp_path, name, None)


def test_versions_begin_at_one(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="0 cannot be a version"):
        choose_version(tmp_path, "digits", 0)


def test_a_write_that_fails_is_one_sentence_and_leaves_nothing(tmp_path: Path) -> None:
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, former[1]))  # the system's own "no space left", on a small scale
    try:
        with pytest.raises(ExportError, match=r"cannot write .*/digits/1: File too large"):
            publish({"small.bin": b"fits", "large.bin": bytes(2_000)}, tmp_path, "digits", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert [path.name for path in tmp_path.rglob("*")] == ["digits"]


@pytest.mark.parametrize("written", [1, 40, 200])
def test_a_killed_publisher_leaves_no_half_package(tmp_path: Path, written: int) -> None:
    publisher = small.launch(tmp_path, interpreter=("-c", PUBLISHER))
    small.wait_for(lambda: len(list(tmp_path.glob(".digits-1-*/*"))) >= written, publisher)
    publisher.kill()
    publisher.communicate()
    complete = tmp_path / "digits" / "1"
    assert not complete.exists()
    assert choose_version(tmp_path, "digits", None) == 1
    (left,) = (path for path in tmp_path.iterdir() if path.name != "digits")
    assert left.name.startswith(".digits-1-")
    publish(FILES, tmp_path, "digits", 1)
    assert len(list(complete.iterdir())) == len(FILES)
