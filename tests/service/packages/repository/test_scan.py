"""What is taken for a package in a folder, and which changes of it are seen."""

import os
import shutil
from pathlib import Path

import pytest

from service.engine.model_spec import PackageKey
from service.errors import ManifestRefused
from service.packages.repository.scan import Stamp, find_packages, only_package, package_folder

TOY = PackageKey("toy", 1)


def package(folder: Path) -> Path:
    """A folder that looks like a package."""
    of_toy = folder / "toy/1"
    of_toy.mkdir(parents=True)
    (of_toy / "manifest.json").write_text("{}")
    (of_toy / "generator.onnx").write_text("graph")
    return of_toy


def stamp(folder: Path) -> Stamp:
    return find_packages(folder).packages[TOY]


def test_only_folders_named_name_and_version_are_packages(tmp_path: Path) -> None:
    for folder in (
        "toy/1",
        "toy/20",
        "toy/3",
        "b/2",
        "toy/01",
        "toy/0",
        "toy/.4.tmp",
        "toy/v5",
        ".git/1",
        "UP/1",
        "a.b/1",
    ):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "toy/6").write_text("a file")
    (tmp_path / "README.md").write_text("a file")
    (tmp_path / "readme").write_text("a file")
    assert [str(key) for key in find_packages(tmp_path).packages] == ["b/2", "toy/20", "toy/3", "toy/1"]


def test_a_folder_that_nobody_touched_keeps_its_stamp(tmp_path: Path) -> None:
    package(tmp_path)
    assert stamp(tmp_path) == stamp(tmp_path)


def test_every_change_of_a_package_changes_its_stamp(tmp_path: Path) -> None:
    folder = package(tmp_path)
    seen = [stamp(tmp_path)]
    (folder / "golden.npz").write_text("")
    seen.append(stamp(tmp_path))
    (folder / "golden.npz").write_text("more")
    seen.append(stamp(tmp_path))
    os.utime(folder / "golden.npz", ns=(0, 0))
    seen.append(stamp(tmp_path))
    shutil.copy2(folder / "golden.npz", folder / "other")
    (folder / "other").rename(folder / "golden.npz")  # as large and as old, but another file
    seen.append(stamp(tmp_path))
    (folder / "golden.npz").unlink()
    seen.append(stamp(tmp_path))
    assert len(set(seen[:-1])) == len(seen) - 1
    assert seen[-1] == seen[0]


def test_a_folder_that_is_not_there_is_an_error_and_not_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        find_packages(tmp_path / "nowhere")


def test_what_cannot_be_read_hides_nothing_else(tmp_path: Path) -> None:
    package(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner/1").symlink_to("1")
    (tmp_path / "inner/2").symlink_to("gone")
    os.mkfifo(tmp_path / "inner/3")
    os.mkfifo(tmp_path / "pipe")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9")).mkdir()
    found = find_packages(tmp_path)
    assert [str(key) for key in found.packages] == ["inner/2", "inner/1", "toy/1"]
    assert found.packages[PackageKey("inner", 1)][0][0] == "Too many levels of symbolic links"
    assert found.unreadable == {"loop": "Too many levels of symbolic links", "nowhere": "No such file or directory"}


def test_a_folder_with_a_manifest_and_no_packages_is_one(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"name": "toy", "version": 1}')
    assert list(find_packages(tmp_path).packages) == [TOY]
    assert package_folder(tmp_path, TOY) == tmp_path
    assert only_package(tmp_path) == TOY
    folder = package(tmp_path)  # beside packages in their folders it is a file as any other
    assert list(find_packages(tmp_path).packages) == [TOY]
    assert package_folder(tmp_path, TOY) == folder
    assert only_package(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "[" * 100_000,
        '{"name": "toy"}',
        '{"name": "../toy", "version": 1}',
        '{"name": "toy", "version": "01"}',
    ],
)
def test_a_manifest_at_the_root_that_names_no_package_is_refused_and_not_overlooked(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ManifestRefused, match="states no name and version"):
        find_packages(tmp_path)
    assert only_package(tmp_path) is None
