"""Packages that come and go while others are served: nobody who has one loses it, and a bad one replaces nothing."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from pathlib import Path

import numpy as np
import pytest

from service.errors import FileDamaged, GoldenMismatch, ManifestRefused, NotFound, NotReady, PackageError
from service.packages.registry import ServedPackage
from service.packages.repository.repository import LocalRepository
from tests.support.served import Served, loaded
from tests.support.toy import republish, toy_files, toy_graphs, write_toy_package

VERSIONS, STEPS = 5, 200  # of a walk: each version comes and goes about ten times

Scenario = Callable[[Served], Awaitable[None]]


def publish(models_dir: Path, version: int, name: str = "toy", seed: int = 0) -> Path:
    """Publish a version; those of one seed have the same graphs, which need vetting once."""
    return write_toy_package(models_dir, name, version, seed=seed, discriminator=False)


def spoil(folder: Path) -> None:
    """Let a package's golden vectors be those of other weights."""
    republish(folder, {"golden.npz": toy_files(toy_graphs(seed=99, discriminator=False))["golden.npz"]})


def run(models_dir: Path, scenario: Scenario, **settings: str) -> None:
    async def serve() -> None:
        async with loaded(models_dir, **settings) as served, asyncio.timeout(60):
            await scenario(served)

    asyncio.run(serve())


def test_a_new_version_takes_over_and_the_old_one_is_still_there_by_its_number(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        old = served.repository.find()
        publish(tmp_path, 2, seed=2)
        rescan = asyncio.create_task(served.repository.rescan())
        while not rescan.done():
            assert served.repository.find().key.version in {1, 2}
            await asyncio.sleep(0)
        new = served.repository.find()
        assert new.key.version == 2
        assert served.repository.find("toy", 1) is old
        assert (await served.pixels(new) != await served.pixels(old)).any()

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_a_version_whose_folder_is_gone_answers_whoever_has_it_and_is_then_freed(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        with served.lifecycle.request():
            mine = served.repository.find("toy", 1)
            before = await served.pixels(mine)
            shutil.rmtree(tmp_path / "toy/1")
            for _ in range(2):
                await served.repository.rescan()
            assert served.states() == {"toy/2": "ready", "toy/1": "unloading"}
            with pytest.raises(NotFound, match=r"no model toy, version 1 that is ready; there are: toy/2\.$"):
                served.repository.find("toy", 1)
            np.testing.assert_array_equal(await served.pixels(mine), before)
        await served.until("toy/1", None)
        with pytest.raises(NotFound):
            await served.pixels(mine)
        assert served.metric("ganymede_package_ready", model="toy", version="1") is None
        assert served.metric("ganymede_package_unloads_total") == 1

    publish(tmp_path, 1)
    publish(tmp_path, 2)
    run(tmp_path, scenario)


def test_a_version_that_comes_as_another_goes_is_ready_before_the_other_is_gone(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        publish(tmp_path, 2, "other")
        shutil.rmtree(tmp_path / "other/1")
        rescan = asyncio.create_task(served.repository.rescan())
        while not rescan.done():
            served.repository.find("other")  # raises where there is none
            await asyncio.sleep(0)
        assert served.repository.find("other").key.version == 2

    publish(tmp_path, 1)
    publish(tmp_path, 1, "other")
    run(tmp_path, scenario)


def test_a_bad_version_replaces_nothing_and_a_fixed_one_under_a_new_number_does(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        spoil(publish(tmp_path, 2))
        await served.repository.rescan()
        assert served.states() == {"toy/2": "refused", "toy/1": "ready"}
        assert "strays from the golden outputs" in (served.repository.statuses()[0].reason or "")
        assert served.repository.find().key.version == 1
        assert served.repository.ready
        publish(tmp_path, 3)
        await served.repository.rescan()
        assert served.repository.find().key.version == 3
        assert served.metric("ganymede_package_loads_total", result="refused") == 1
        assert served.metric("ganymede_package_loads_total", result="ready") == 2

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_a_refused_package_is_tried_again_only_when_its_folder_has_changed(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        half = publish(tmp_path, 2)
        golden = (half / "golden.npz").read_bytes()
        (half / "golden.npz").unlink()
        for _ in range(3):
            await served.repository.rescan()
        assert served.metric("ganymede_package_loads_total", result="refused") == 1
        (half / "golden.npz").write_bytes(golden)  # the end of a copy that was no rename
        await served.repository.rescan()
        assert served.repository.find().key.version == 2

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_a_version_stays_what_it_was_whatever_becomes_of_its_folder(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        mine = served.repository.find("toy", 2)
        spoil(tmp_path / "toy/2")
        await served.repository.rescan()
        assert served.repository.find("toy", 2) is mine
        await served.repository.unload("toy")
        await served.until("toy/2", "unloaded")
        with pytest.raises(ManifestRefused, match=r"^toy/2: manifest.json: .* a version never changes, so publish"):
            await served.repository.load("toy")
        assert served.states() == {"toy/2": "refused", "toy/1": "ready"}

    publish(tmp_path, 1)
    publish(tmp_path, 2)
    run(tmp_path, scenario)


def test_a_look_never_takes_the_last_version_of_a_configured_model(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        for folder in ("toy", "other"):
            shutil.rmtree(tmp_path / folder)
        await served.repository.rescan()
        assert served.states()["toy/2"] == "ready"
        await served.pixels(served.repository.find())
        await served.until("toy/1", None)
        await served.until("other/1", None)
        publish(tmp_path, 3)
        await served.repository.rescan()
        await served.until("toy/2", None)
        assert served.states() == {"toy/3": "ready"}

    publish(tmp_path, 1)
    publish(tmp_path, 2)
    publish(tmp_path, 1, "other")
    run(tmp_path, scenario)


def test_a_folder_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(FileDamaged, match=r"cannot be read \(No such file or directory\)$"):
            await served.repository.rescan()
        assert served.states() == {"other/1": "ready", "toy/1": "ready"}

    folder = tmp_path / "models"
    publish(folder, 1)
    publish(folder, 1, "other")
    run(folder, scenario)


def test_a_watched_folder_is_looked_at_again_and_again_even_after_it_was_gone(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        watch = asyncio.create_task(served.repository.watch(interval_s=0.001))
        folder.rename(tmp_path / "elsewhere")
        await asyncio.to_thread(publish, tmp_path / "elsewhere", 2)
        (tmp_path / "elsewhere").rename(folder)
        await served.until("toy/2", "ready")
        watch.cancel()

    folder = tmp_path / "models"
    publish(folder, 1)
    run(folder, scenario)


def test_an_unloaded_model_is_found_no_more_and_left_alone_until_it_is_asked_for(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        await served.repository.unload("toy")
        with pytest.raises(NotFound, match="there are: none"):
            served.repository.find()
        assert not served.repository.ready
        await served.until("toy/1", "unloaded")
        publish(tmp_path, 2)
        await served.repository.rescan()
        assert served.states() == {"toy/2": "unloaded", "toy/1": "unloaded"}
        await served.repository.load("toy")
        assert served.states() == {"toy/2": "ready", "toy/1": "ready"}
        assert served.repository.ready

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_a_model_that_is_asked_for_while_it_leaves_was_never_gone(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        with served.lifecycle.request():
            mine = served.repository.find()
            await served.repository.unload("toy")
            assert served.states() == {"toy/1": "unloading"}
            await served.repository.load("toy")
            assert served.repository.find() is mine
        await served.lifecycle.answered()
        await served.pixels(mine)
        assert served.metric("ganymede_package_loads_total", result="ready") == 1
        assert served.metric("ganymede_package_unloads_total") == 0

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_loading_says_why_the_newest_version_was_refused_and_the_older_goes_on(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        spoil(publish(tmp_path, 2))
        with pytest.raises(GoldenMismatch, match=r"^toy/2: .* strays from the golden outputs"):
            await served.repository.load("toy")
        assert served.repository.find().key.version == 1

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_what_was_not_named_at_the_start_is_loaded_when_it_is_asked_for(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        assert served.states() == {"other/1": "unloaded", "toy/1": "ready"}
        await served.repository.load("other")
        assert served.repository.find("other").key.version == 1
        publish(tmp_path, 2, "other")
        await served.repository.rescan()
        assert served.repository.find("other").key.version == 2

    publish(tmp_path, 1)
    publish(tmp_path, 1, "other")
    run(tmp_path, scenario, load_models="toy")


@pytest.mark.parametrize("change", [LocalRepository.load, LocalRepository.unload])
@pytest.mark.parametrize("name", ["nobody", "../toy", "", "x" * 10_000])
def test_what_does_not_exist_can_be_neither_loaded_nor_unloaded(
    tmp_path: Path, change: Callable[[LocalRepository, str], Awaitable[None]], name: str
) -> None:
    async def scenario() -> None:
        (tmp_path / "toy").mkdir()
        with pytest.raises(NotFound) as refusal:
            await change(Served(tmp_path).repository, name)
        assert len(str(refusal.value)) < 200

    asyncio.run(scenario())


def test_a_load_that_is_cancelled_leaves_a_package_that_can_be_loaded(tmp_path: Path) -> None:
    async def scenario(served: Served) -> None:
        publish(tmp_path, 2)
        publish(tmp_path, 3)
        loading = asyncio.create_task(served.repository.load("toy"))
        await served.until("toy/3", "loading")
        loading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loading
        assert served.states() == {"toy/3": "unloaded", "toy/2": "unloaded", "toy/1": "ready"}
        await served.repository.rescan()
        assert served.repository.find().key.version == 3

    publish(tmp_path, 1)
    run(tmp_path, scenario)


def test_graphs_that_passed_once_need_no_child_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(served: Served) -> None:
        monkeypatch.setattr("sys.executable", os.devnull)  # from now on no child can be started
        publish(tmp_path, 2)
        publish(tmp_path, 3, seed=3)
        await served.repository.rescan()
        assert served.states() == {"toy/3": "refused", "toy/2": "ready", "toy/1": "ready"}

    publish(tmp_path, 1)
    run(tmp_path, scenario)


class Walk:
    """Changes in an order of chance, many at once, by operators, publishers and requests.

    Args:
        served: who must bear it.
        models_dir: its folder, with all versions under `.shelf`.
        rng: chance.
    """

    def __init__(self, served: Served, models_dir: Path, rng: np.random.Generator) -> None:
        self._served = served
        self._folder = models_dir / "toy"
        self._shelf = models_dir / ".shelf/toy"
        self._rng = rng
        self._changes: list[asyncio.Task[None]] = []
        self.held: list[tuple[ExitStack, ServedPackage]] = []

    async def step(self) -> None:
        """Do one thing, or begin it; two changes may go on meanwhile."""
        repository = self._served.repository
        version = str(self._rng.integers(1, VERSIONS + 1))
        match self._rng.integers(10):
            case 0 | 1 if not (self._folder / version).exists():
                shutil.copytree(self._shelf / version, self._folder / ".new")
                (self._folder / ".new").rename(self._folder / version)
            case 2 if (self._folder / version).exists():
                shutil.rmtree(self._folder / version)
            case 3 | 4:
                self._changes.append(asyncio.create_task(repository.rescan()))
            case 5 | 6:
                self._changes.append(asyncio.create_task(repository.load("toy")))
            case 7:
                self._changes.append(asyncio.create_task(repository.unload("toy")))
            case 8 if self.held:
                request, _ = self.held.pop(int(self._rng.integers(len(self.held))))
                request.close()
            case _:
                with suppress(NotFound, NotReady):
                    package = repository.find()
                    request = ExitStack()
                    request.enter_context(self._served.lifecycle.request())
                    self.held.append((request, package))
        going_on = [change for change in self._changes if not change.done()]
        if len(going_on) > 2:
            await asyncio.wait(going_on, return_when=asyncio.FIRST_COMPLETED)

    async def end(self) -> None:
        """Answer every request, and finish every change; only what was not there, or went meanwhile, can fail."""
        while self.held:
            self.held.pop()[0].close()
        for outcome in await asyncio.gather(*self._changes, return_exceptions=True):
            assert outcome is None or isinstance(outcome, NotFound | PackageError)


def test_whatever_comes_in_whatever_order_nobody_loses_what_he_has_and_the_folder_is_served_in_the_end(
    tmp_path: Path,
) -> None:
    async def scenario(served: Served) -> None:
        walk = Walk(served, tmp_path, np.random.default_rng(1))
        for _ in range(STEPS):
            await walk.step()
            for _, package in walk.held:
                await served.pixels(package)
            with suppress(NotFound, NotReady):
                await served.pixels(served.repository.find())
        await walk.end()
        shutil.rmtree(tmp_path / "toy")
        for version in (2, 4):
            shutil.copytree(tmp_path / f".shelf/toy/{version}", tmp_path / f"toy/{version}")
        await served.repository.load("toy")
        await served.repository.rescan()
        for version in (1, 3, 5):
            await served.until(f"toy/{version}", None)
        assert served.states() == {"toy/4": "ready", "toy/2": "ready"}
        loads = served.metric("ganymede_package_loads_total", result="ready")
        assert loads is not None
        assert served.metric("ganymede_package_unloads_total") == loads - 2

    publish(tmp_path, 1)
    for version in range(1, VERSIONS + 1):
        publish(tmp_path / ".shelf", version)
    run(tmp_path, scenario)
