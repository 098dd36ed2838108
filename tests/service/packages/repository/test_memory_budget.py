"""Packages that do not all fit the memory budget: which stay, who has one loaded, and that nothing else changes."""

import asyncio
import itertools
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import numpy as np
import pytest
import uvloop

from service.engine.interface import GenerateJob
from service.errors import NotFound, NotReady, PackageError
from service.memory import free_unused, trimmed_bytes
from service.packages.registry import KEPT_OUT, ServedPackage
from service.packages.repository.budget import TURNS_AT_ONCE_S
from tests.support.served import Served, loaded
from tests.support.toy import write_toy_package

Scenario = Callable[[Served], Awaitable[None]]
# A generator of 9 MiB, which takes two to three times as much when it is loaded.
LARGE = {"latent_size": 256, "height": 48, "width": 48}
GRAPH_BYTES = 256 * 4 * 48 * 48 * 4
# Beside the default, one large package fits and two do not, by the bytes of their graphs.
ONE_FITS = GRAPH_BYTES * 3 // 2
MANY = 400  # samples, which take longer than a load would be waited for


def publish(folder: Path) -> None:
    write_toy_package(folder, "toy", discriminator=False)
    large = write_toy_package(folder, "a", discriminator=False, **LARGE)  # type: ignore[arg-type]
    for name in ("b", "c"):
        copy(large, folder / name / "1")


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where graphs that passed their vetting are remembered, so that each is vetted once."""
    folder = tmp_path_factory.mktemp("vetted")
    publish(folder / "models")

    async def serve() -> None:
        async with loaded(folder / "models", cache_dir=str(folder / "cache")):
            pass

    uvloop.run(serve())  # measured beside their vetting they would take more
    return folder / "cache"


@pytest.fixture
def models_dir(tmp_path: Path, cache_dir: Path) -> Path:
    """A small default and three large packages of equal graphs, vetted once."""
    folder = tmp_path / "models"
    (tmp_path / "cache").symlink_to(cache_dir)
    publish(folder)
    return folder


def copy(folder: Path, to: Path) -> None:
    """Publish a package under another name and version."""
    shutil.copytree(folder, to)
    manifest = (to / "manifest.json").read_text()
    own = f'"name": "{folder.parent.name}"', f'"version": {folder.name}'
    for field, value in zip(own, (f'"name": "{to.parent.name}"', f'"version": {to.name}'), strict=True):
        assert field in manifest
        manifest = manifest.replace(field, value, 1)
    (to / "manifest.json").write_text(manifest)


@pytest.fixture
def stated_sizes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on a system that does not say what a process holds: a package takes the bytes of its graphs."""
    monkeypatch.setattr("service.memory.OWN_PAGES", tmp_path / "nowhere")


def run(models_dir: Path, scenario: Scenario, budget_bytes: int, **settings: str) -> None:
    async def serve() -> None:
        cache_dir = str(models_dir.parent / "cache")
        opened = loaded(models_dir, memory_budget=str(budget_bytes), cache_dir=cache_dir, **settings)
        async with opened as served, asyncio.timeout(120):
            for name in served.states():  # what was tried at the start and did not fit
                if served.states()[name] == "unloading":
                    await served.until(name, "unloaded")
            await scenario(served)

    uvloop.run(serve())  # as the service does: the pipes of asyncio keep what was sent until cycles are collected


async def asked(served: Served, model: str, version: int | None = None) -> ServedPackage:
    """Ask for a package until it is in memory."""
    while True:
        try:
            return served.repository.find(model, version)
        except NotReady:
            await asyncio.sleep(0.01)


def in_memory(served: Served) -> set[str]:
    return {key for key, state in served.states().items() if state == "ready"}


@pytest.mark.usefixtures("stated_sizes")
def test_what_does_not_fit_is_kept_out_and_asking_for_it_takes_the_place_of_the_least_recently_used(
    models_dir: Path,
) -> None:
    async def scenario(served: Served) -> None:
        repository = served.repository
        assert repository.ready
        assert in_memory(served) - {"small/1"} == {"toy/1", "a/1"}
        out = {status.key.name: status for status in repository.statuses() if status.on_demand}
        assert out.keys() == {"b", "c"}
        assert in_memory(served) >= {"small/1"}  # what comes after them and fits is loaded
        assert {status.state for status in out.values()} == {"unloaded"}
        assert out["b"].reason == KEPT_OUT
        before = await served.pixels(repository.find("a"))
        with pytest.raises(NotReady, match=r"^the package b/1 was out of memory, and is being loaded now; ask again$"):
            repository.find("b")
        await asked(served, "b")
        assert in_memory(served) - {"small/1"} == {"toy/1", "b/1"}
        assert repository.ready
        assert served.metric("ganymede_package_evictions_total") == 1
        assert served.metric("ganymede_package_on_demand", model="a", version="1") == 1
        assert served.metric("ganymede_package_memory_bytes", model="a", version="1") == 0
        assert (served.metric("ganymede_package_memory_bytes", model="b", version="1") or 0) >= GRAPH_BYTES
        np.testing.assert_array_equal(await served.pixels(await asked(served, "a")), before)

    copy(models_dir / "toy/1", models_dir / "small/1")
    run(models_dir, scenario, ONE_FITS)


@pytest.mark.usefixtures("stated_sizes")
@pytest.mark.parametrize("alias", ["digits", "b"])
def test_an_alias_means_the_default_always_or_the_package_of_that_name_even_while_it_is_out(
    models_dir: Path, alias: str
) -> None:
    async def scenario(served: Served) -> None:
        repository = served.repository
        if alias == "digits":
            assert repository.find("digits").key.name == "toy"
            await asked(served, "b")
            await asked(served, "a")
            assert repository.find("digits").key.name == "toy"
        else:
            with pytest.raises(NotReady, match=r"^the package b/1 was out of memory"):
                repository.find("b")
            assert (await asked(served, "b")).key.name == "b"
        assert "toy/1" in in_memory(served)

    run(models_dir, scenario, ONE_FITS, model_alias=alias)


@pytest.mark.usefixtures("stated_sizes")
def test_a_hundred_who_ask_at_once_cause_one_load_and_those_who_only_look_cause_none(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        loads = served.metric("ganymede_package_loads_total", result="ready") or 0
        with pytest.raises(NotReady):
            served.repository.find("b", demand=False)
        await served.repository.rescan()
        assert served.metric("ganymede_package_loads_total", result="ready") == loads
        for _ in range(100):
            with pytest.raises(NotReady):
                served.repository.find("b")
            await asyncio.sleep(0)
        await asked(served, "b")
        assert served.metric("ganymede_package_loads_total", result="ready") == loads + 1

    run(models_dir, scenario, ONE_FITS)


def test_what_an_unloaded_package_took_goes_back_to_the_system(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        shown = {status.key.name: status.memory_bytes or 0 for status in served.repository.statuses()}
        assert served.metric("ganymede_package_memory_bytes", model="a", version="1") == shown["a"]
        before = trimmed_bytes()
        for name in "abc":
            await served.repository.unload(name)
            await served.until(f"{name}/1", "unloaded")
        freed, stated = before - trimmed_bytes(), sum(shown[name] for name in "abc")
        assert 0.6 * stated < freed < 1.5 * stated
        assert freed > 3 * GRAPH_BYTES

    free_unused()  # else what earlier tests left is given back meanwhile, too
    run(models_dir, scenario, 0)


@pytest.mark.usefixtures("stated_sizes")
def test_a_package_that_never_fits_is_refused_with_what_is_left_and_the_default_is_served_whatever_it_takes(
    models_dir: Path,
) -> None:
    async def scenario(served: Served) -> None:
        assert served.repository.ready
        assert in_memory(served) == {"toy/1"}
        for name in "ab":
            with pytest.raises(NotReady):
                served.repository.find(name)
            await served.until(f"{name}/1", "refused")
        (status,) = [each for each in served.repository.statuses() if each.key.name == "a"]
        assert "GANYMEDE_MEMORY_BUDGET leaves" in (status.reason or "")
        with pytest.raises(NotFound):
            served.repository.find("a")
        with pytest.raises(PackageError, match=r"^a/1: it takes .* MiB of memory, and GANYMEDE_MEMORY_BUDGET leaves"):
            await served.repository.load("a")

    run(models_dir, scenario, 1)


@pytest.mark.usefixtures("stated_sizes")
def test_a_request_without_a_version_waits_for_the_newest_rather_than_get_an_older_one(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        await asked(served, "a", 1)
        assert in_memory(served) == {"toy/1", "a/1"}
        with pytest.raises(NotReady, match=r"^the package a/2 was out of memory"):
            served.repository.find("a")
        assert (await asked(served, "a")).key.version == 2

    copy(models_dir / "a/1", models_dir / "a/2")
    run(models_dir, scenario, ONE_FITS)


@pytest.mark.usefixtures("stated_sizes")
def test_what_changes_on_disk_while_it_is_out_is_served_as_it_is_now_or_refused(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        first = served.repository.find("a")
        await asked(served, "b")  # a has been loaded, and is out now
        shutil.rmtree(models_dir / "a/1")
        write_toy_package(models_dir, "a", 1, discriminator=False, seed=5)
        with pytest.raises(NotReady):
            served.repository.find("a")
        await served.until("a/1", "refused")
        (status,) = [each for each in served.repository.statuses() if each.key.name == "a"]
        assert first.sha256 in (status.reason or "")
        shutil.rmtree(models_dir / "c/1")
        write_toy_package(models_dir, "c", 2, discriminator=False, seed=6)
        with pytest.raises(NotReady, match="c/1 was out of memory"):
            served.repository.find("c")
        await served.until("c/1", None)
        await served.repository.rescan()
        assert (await asked(served, "c")).key.version == 2

    run(models_dir, scenario, ONE_FITS)


@pytest.mark.usefixtures("stated_sizes")
def test_a_version_that_takes_over_is_loaded_in_the_place_of_others(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        assert served.repository.find("a").key.version == 1
        copy(models_dir / "a/1", models_dir / "a/2")
        await served.repository.rescan()
        assert served.repository.find("a").key.version == 2
        assert "a/1" not in in_memory(served)

    run(models_dir, scenario, ONE_FITS)


@pytest.mark.usefixtures("stated_sizes")
def test_the_service_ends_while_a_package_is_loaded_on_demand(models_dir: Path) -> None:
    began: list[float] = []

    async def scenario(served: Served) -> None:
        with pytest.raises(NotReady):
            served.repository.find("b")
        await served.until("b/1", "loading")
        began.append(time.monotonic())

    run(models_dir, scenario, ONE_FITS)
    assert time.monotonic() - began[0] < 30


@pytest.mark.usefixtures("stated_sizes")
def test_one_that_has_a_request_is_not_evicted_and_neither_is_the_default(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        package = served.repository.find("a")
        many = GenerateJob(package=package.key, seeds=np.arange(MANY, dtype=np.uint64))
        drawing = asyncio.create_task(served.engine.submit(many))
        await asyncio.sleep(0)  # it begins
        assert served.engine.usage(package.key)[0] == 1
        with pytest.raises(NotReady):
            served.repository.find("b")
        while not drawing.done():
            assert {"a/1", "toy/1"} <= in_memory(served)
            await asyncio.sleep(0.01)
        await drawing
        await asked(served, "b")
        assert in_memory(served) == {"toy/1", "b/1"}

    run(models_dir, scenario, ONE_FITS)


@pytest.mark.usefixtures("stated_sizes")
def test_loading_and_unloading_by_hand_keep_their_meaning(models_dir: Path) -> None:
    async def scenario(served: Served) -> None:
        with served.lifecycle.request():  # the one that asks for it waits for no memory
            await served.repository.load("b")
        assert served.repository.find("b")
        await served.until("a/1", "unloaded")
        for name in "ab":
            await served.repository.unload(name)
            await served.until(f"{name}/1", "unloaded")
            with pytest.raises(NotFound):
                served.repository.find(name)
        assert served.metric("ganymede_package_on_demand", model="b", version="1") == 0
        await served.repository.rescan()
        assert in_memory(served) == {"toy/1"}

    run(models_dir, scenario, ONE_FITS)


@pytest.mark.usefixtures("stated_sizes")
def test_packages_that_take_turns_are_slowed_down_and_their_callers_told(
    models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(served: Served) -> None:
        retries: list[float] = []
        for name in itertools.cycle("ab"):  # until the callers of one are told
            try:
                served.repository.find(name)
            except NotReady as error:
                if "waits for its turn" in str(error):
                    retries.append(error.retry_after_s or 0)
                    break
            await asyncio.sleep(0.02)
        assert min(retries) > 0
        assert (served.metric("ganymede_package_loads_deferred_total") or 0) >= 1
        assert (served.metric("ganymede_package_evictions_total") or 0) <= 3
        assert served.repository.ready

    monkeypatch.setattr("service.packages.repository.budget.TURNS_AT_ONCE_S", 0.0)
    assert TURNS_AT_ONCE_S > 0
    run(models_dir, scenario, ONE_FITS)
