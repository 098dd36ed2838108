"""What passed is remembered by the next process, and nobody else can make it so."""

import asyncio
import sys
from pathlib import Path

import pytest

from service.errors import PackageError
from service.packages.vetting.cache import VettingCache
from service.packages.vetting.parent import VettingLimits
from tests.support.served import loaded
from tests.support.toy import write_toy_package

LIMITS = VettingLimits(timeout_s=30, memory_bytes=2**30)
ONE, OTHER = frozenset({"one"}), frozenset({"other"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache in which one graph is known to have passed."""
    VettingCache(tmp_path, LIMITS).note(ONE)
    return tmp_path


def the_file(folder: Path) -> Path:
    (file,) = (folder / "vetted").iterdir()
    return file


def test_what_passed_is_known_to_the_next_process_and_nothing_else_is(folder: Path) -> None:
    assert VettingCache(folder, LIMITS).passed(ONE | OTHER) == ONE


def test_a_judge_with_other_limits_judges_anew(folder: Path) -> None:
    assert not VettingCache(folder, VettingLimits(timeout_s=1, memory_bytes=2**30)).passed(ONE)


def test_the_folder_is_for_its_user_alone(folder: Path) -> None:
    assert (folder / "vetted").stat().st_mode & 0o777 == 0o700
    assert the_file(folder).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o720, 0o702])
def test_a_folder_that_others_may_write_to_is_not_believed(folder: Path, mode: int) -> None:
    (folder / "vetted").chmod(mode)
    assert not VettingCache(folder, LIMITS).passed(ONE)


def test_a_file_that_others_may_write_to_is_not_believed(folder: Path) -> None:
    the_file(folder).chmod(0o666)
    assert not VettingCache(folder, LIMITS).passed(ONE)


def test_a_link_is_not_believed(folder: Path, tmp_path: Path) -> None:
    file = the_file(folder)
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert not VettingCache(folder, LIMITS).passed(ONE)


def test_a_linked_folder_is_not_believed(folder: Path, tmp_path: Path) -> None:
    (folder / "vetted").rename(tmp_path / "elsewhere")
    (folder / "vetted").symlink_to(tmp_path / "elsewhere")
    assert not VettingCache(folder, LIMITS).passed(ONE)


def test_a_cache_that_cannot_be_made_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "vetted").write_text("in the way")
    cache = VettingCache(tmp_path, LIMITS)
    cache.note(ONE)
    assert not cache.passed(ONE)


def test_a_user_without_a_home_does_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = VettingCache(Path("~nobody-of-this-name/cache"), LIMITS)
    cache.note(ONE)
    assert not cache.passed(ONE)
    assert list(tmp_path.iterdir()) == []


def test_a_package_that_passed_is_loaded_by_the_next_process_without_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models_dir, cache_dir = tmp_path / "models", tmp_path / "cache"
    write_toy_package(models_dir, discriminator=False)

    async def load(remembered: Path) -> None:
        async with loaded(models_dir, cache_dir=str(remembered)) as served:
            assert served.repository.ready

    asyncio.run(load(cache_dir))
    monkeypatch.setattr(sys, "executable", "/nonexistent")
    asyncio.run(load(cache_dir))
    with pytest.raises(PackageError):
        asyncio.run(load(tmp_path / "another"))
