"""Decoded images are kept between runs: the same bytes as without, by real processes that are killed and meet."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.data.images import fill
from training import data
from training.data import FolderConfig
from training.data.image_data import what_changed
from training.data.image_folder import cache
from training.data.image_folder.decoding import cores
from training.data.image_folder.listing import walk
from training.errors import DataError

PATIENCE_S = 120.0
# What the tests start as processes of their own.
LOADING = """
import json, sys
from training.data import folder, FolderConfig
images = folder.load(FolderConfig(path=sys.argv[1]), keep_from=1)
print(json.dumps({"sha256": images.sha256, "sum": int(images.train.sum()), "notes": images.notes}))
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Each test begins with an empty cache."""
    monkeypatch.setenv("GANYMEDE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder whose files were not changed in this very moment."""
    fill(tmp_path / "pictures", 64, mode="RGB", size=(20, 20), suffix="bmp")
    return settled(tmp_path / "pictures")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """A folder of two chunks, which two workers decode."""
    fill(tmp_path / "many", 256 + 1, mode="RGB", size=(64, 64), suffix="bmp")
    return settled(tmp_path / "many")


def settled(folder: Path) -> Path:
    """Wait until a change would have another time."""
    until(lambda: walk(folder)[1].settled)
    return folder


def until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens outside."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.005)


def load(folder: Path, keep_from: int = 1) -> data.ImageData:
    return data.folder.load(FolderConfig(path=str(folder)), keep_from)


def start(folder: Path, before: str = "") -> subprocess.Popen[str]:
    """Start a process, in a session of its own, that loads a folder and prints what it got."""
    command = [sys.executable, "-c", before + LOADING, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    told: dict[str, Any] = json.loads(output)
    return told


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.suffix == ".part"]


def group_is_gone(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def size_of(path: Path) -> int:
    """Bytes of a file; none where it is gone, or has got its name."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_decoding(own_cache: Path, group: int) -> bool:
    """Whether a process has begun to write pixels and started its workers, where there are processors for them."""
    if not any(size_of(path) > 1_000_000 for path in own_cache.glob(".*.part")):
        return False
    found = subprocess.run(["pgrep", "-g", str(group), "-f", "spawn_main"], stdout=subprocess.PIPE, check=False)
    return len(found.stdout.split()) == 2 or cores() == 1


def cache_note(images: data.ImageData) -> str:
    return next((note for note in images.notes if note.startswith("cache: ")), "")


def test_data_is_the_same_decoded_by_workers_read_from_the_cache_and_without_either(
    many: Path, own_cache: Path
) -> None:
    plain, first, second = load(many, keep_from=1 << 40), load(many), load(many)
    assert not cache_note(plain)
    assert str(own_cache) in cache_note(first)
    for images in (first, second):
        assert images.sha256 == plain.sha256
        assert np.array_equal(images.train, plain.train)
        assert np.array_equal(images.held_out, plain.held_out)
        assert [note for note in images.notes if not note.startswith("cache: ")] == list(plain.notes)
        assert plain.fingerprints is not None
        assert images.fingerprints is not None
        assert np.array_equal(images.fingerprints, plain.fingerprints)


def test_the_second_start_decodes_nothing_and_what_is_written_to_its_images_stays_in_the_process(
    pictures: Path, own_cache: Path
) -> None:
    load(pictures)
    file = max(own_cache.glob("*.npy"), key=lambda path: path.stat().st_size)
    kept = np.load(file, mmap_mode="r+")
    kept[0] = 77
    kept.flush()
    images = load(pictures)
    assert (images.train[0] == 77).all()
    images.train[0] = 78
    assert (load(pictures).train[0] == 77).all()


@pytest.mark.parametrize("damage", ["array", "facts", "half"])
def test_a_damaged_cache_is_made_again(pictures: Path, own_cache: Path, damage: str) -> None:
    expected = load(pictures).train.copy()
    for path in [*own_cache.glob("*.npy"), *own_cache.glob("*.json")]:
        if path.suffix == (".json" if damage == "facts" else ".npy"):
            os.truncate(path, path.stat().st_size // 2 if damage == "half" else 3)
    assert np.array_equal(load(pictures).train, expected)


def test_an_image_that_changed_is_decoded_again_though_its_size_and_time_are_the_same(pictures: Path) -> None:
    before = load(pictures)
    file = pictures / "0.bmp"
    status, content = file.stat(), file.read_bytes()
    file.write_bytes(content[:-3] + b"\1\2\3")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    after = load(settled(pictures))
    assert after.sha256 != before.sha256
    assert before.fingerprints is not None
    assert after.fingerprints is not None
    assert str(what_changed(before.fingerprints, after.fingerprints)) == "1 with other content"


def test_a_folder_that_was_moved_is_not_decoded_again(pictures: Path, own_cache: Path) -> None:
    before = load(pictures)
    moved = pictures.rename(pictures.with_name("elsewhere"))
    kept = sorted(own_cache.glob("*.npy"))
    assert load(moved).sha256 == before.sha256
    assert sorted(own_cache.glob("*.npy")) == kept


def test_two_processes_at_once_get_the_same_and_decode_it_once(pictures: Path, own_cache: Path) -> None:
    processes = [start(pictures), start(pictures)]
    first, second = (result(process) for process in processes)
    assert first == second
    assert len(list(own_cache.glob("*.npy"))) == 2  # headers and pixels
    assert not left_over(own_cache)


def test_what_a_killed_process_has_begun_is_finished_by_the_next_and_its_workers_end(
    many: Path, own_cache: Path
) -> None:
    process = start(many)
    until(lambda: is_decoding(own_cache, process.pid))
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    until(lambda: group_is_gone(process.pid))
    assert left_over(own_cache)
    assert result(start(many))["sha256"] == load(many, keep_from=1 << 40).sha256
    assert not left_over(own_cache)


def test_ctrl_c_ends_all_processes_without_a_word_of_the_workers(many: Path, own_cache: Path) -> None:
    process = start(many)
    until(lambda: is_decoding(own_cache, process.pid))
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    until(lambda: group_is_gone(process.pid))
    assert process.returncode != 0
    assert errors.count("Traceback") == 1
    assert "KeyboardInterrupt" in errors
    assert not left_over(own_cache)


def test_a_damaged_image_is_named_by_workers_and_nothing_is_kept(many: Path, own_cache: Path) -> None:
    for number in (3, 256):
        content = (many / f"{number}.bmp").read_bytes()
        (many / f"{number}.bmp").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"2 of 257 images cannot be taken: 256\.bmp is damaged: .*, 3\.bmp is damaged"):
        load(settled(many))
    assert not left_over(own_cache)
    assert sum(path.stat().st_size for path in own_cache.glob("*.npy")) < 10_000  # the headers


def test_where_the_disk_takes_no_more_the_images_are_in_memory_and_it_is_said(pictures: Path, own_cache: Path) -> None:
    full = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))"  # of one file, in bytes
    told = result(start(pictures, full))
    assert told["sha256"] == load(pictures, keep_from=1 << 40).sha256
    assert f"cache: none, {own_cache}: File too large; all images are in memory" in told["notes"]
    assert not left_over(own_cache)


def test_where_there_can_be_no_folder_the_images_are_in_memory(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GANYMEDE_CACHE_DIR", str(tmp_path / "file"))
    assert "Not a directory; all images are in memory" in cache_note(load(pictures))


def test_the_cache_keeps_to_its_bound_and_loses_what_was_not_used_for_longest(
    pictures: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held() -> list[str]:
        return [entry.of.rpartition("/")[2] for entry in cache.entries() if entry.size > 50_000]

    monkeypatch.setenv(cache.BOUND, "350000")  # four times 64 images of 20x20 in colour, and their headers
    folders = []
    for number in range(5):
        folders.append(pictures.with_name(f"copy {number}"))
        folders[-1].mkdir()
        for path in pictures.iterdir():
            (folders[-1] / path.name).write_bytes(path.read_bytes())
        load(settled(folders[-1]))
        load(folders[0])
    assert held() == ["copy 2", "copy 3", "copy 4", "copy 0"]
    cache.clear()
    assert held() == []
    assert len(load(folders[0]).train) > 0


@pytest.mark.parametrize("allowed", ["0", "10000"])
def test_what_is_larger_than_the_bound_is_not_kept(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    monkeypatch.setenv(cache.BOUND, allowed)
    assert f"more than {cache.BOUND} allows" in cache_note(load(pictures))


@pytest.mark.parametrize("stated", ["5 GB", "-1", "1e9"])
def test_a_bound_that_is_no_number_of_bytes_is_refused(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, stated: str
) -> None:
    monkeypatch.setenv(cache.BOUND, stated)
    with pytest.raises(DataError, match=f"{cache.BOUND} is {stated} and must be a number of bytes"):
        load(pictures)


def test_a_few_images_leave_nothing_in_the_cache(pictures: Path, own_cache: Path) -> None:
    data.folder.load(FolderConfig(path=str(pictures)))
    assert not own_cache.exists()


def test_workers_import_no_torch() -> None:
    program = "import sys, training.data.image_folder.decoding; print({'torch', 'sklearn'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"set()\n"


def test_what_changed_counts_new_gone_and_other_images() -> None:
    before = np.array([[1, 10], [2, 20], [3, 30]], np.uint64)
    after = np.array([[2, 20], [3, 31], [4, 40], [5, 50]], np.uint64)
    assert str(what_changed(before, after)) == "2 new images, 1 gone and 1 with other content"
    assert str(what_changed(before, after[:3])) == "1 new image, 1 gone and 1 with other content"
    assert str(what_changed(before, before[::-1])) == "the same images"
