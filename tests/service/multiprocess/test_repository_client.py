"""Copies of the registry: equal to it at every step, and never behind what a caller was told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from service.errors import NotFound, NotReady, PackageError
from service.multiprocess.repository_client import Listeners, RepositoryClient
from service.multiprocess.rpc import Channel
from service.packages.repository.repository import LocalRepository
from service.server.lifecycle import Lifecycle
from service.settings import Settings
from tests.support.served import Served
from tests.support.toy import write_toy_package
from tests.support.wires import wired


class Copy:
    """A repository client in a process of its own, with its own requests in flight."""

    def __init__(self, models_dir: Path) -> None:
        self.lifecycle = Lifecycle()
        self.repository = RepositoryClient(
            Settings(models_dir=models_dir, default_model="toy"), self.lifecycle.answered
        )

    @asynccontextmanager
    async def connected(self, listeners: Listeners, repository: LocalRepository) -> AsyncIterator[Channel]:
        async with wired(listeners.handlers(repository), self.repository.handlers) as (near, far):
            listeners.join(far, repository)
            await self.repository.connect(near)
            yield near


class House:
    """A repository and two copies of it."""

    def __init__(self, models_dir: Path) -> None:
        self.listeners = Listeners()
        self.served = Served(models_dir, self.listeners.answered)
        self.repository = self.served.repository
        self.copies = (Copy(models_dir), Copy(models_dir))

    def connected(self) -> tuple[AbstractAsyncContextManager[Channel], ...]:
        """Connect both copies."""
        return tuple(copy.connected(self.listeners, self.repository) for copy in self.copies)

    async def load_all(self) -> None:
        """Load what the folder holds, and let both copies know of it."""
        await self.repository.load_all()
        await self.listeners.seen()

    def agree(self) -> bool:
        """Whether both copies say what the repository says."""
        return all(said(copy.repository) == said(self.repository) for copy in self.copies)


def said(served: LocalRepository | RepositoryClient) -> list[tuple[object, ...]]:
    """What is said of every package, but for the calibration, which follows from the manifest."""
    return [
        (
            status.key,
            status.state,
            status.reason,
            package and (package.manifest, package.sha256, package.report, package.reference),
        )
        for status in served.statuses()
        for package in [status.package]
    ]


def in_house(models_dir: Path, scenario: Callable[[House], Awaitable[None]]) -> None:
    async def run() -> None:
        house = House(models_dir)
        one, other = house.connected()
        try:
            async with one, other, asyncio.timeout(60):
                await scenario(house)
        finally:
            await house.repository.close()
            await house.served.engine.drain(timeout_s=5)

    asyncio.run(run())


def test_copies_say_what_the_repository_says_whenever_they_connect(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        early, _ = house.copies
        with pytest.raises(NotReady, match="loading"):
            early.repository.find()
        await house.load_all()
        assert house.agree()
        late = Copy(tmp_path)
        async with late.connected(house.listeners, house.repository):
            for copy in (early, late):
                assert said(copy.repository) == said(house.repository)
                assert copy.repository.find("classes").calibration is not None
                assert copy.repository.find("ring").reference is not None
                assert copy.repository.ready
                assert copy.repository.configured == house.repository.configured
                with pytest.raises(NotFound):
                    copy.repository.find("films")

    write_toy_package(tmp_path)
    write_toy_package(tmp_path, "classes", conditional=True, encoder=True)
    write_toy_package(tmp_path, "ring", kind="vector", reference_count=8)
    (write_toy_package(tmp_path, "broken") / "manifest.json").write_text("{")
    in_house(tmp_path, scenario)


def test_a_change_that_one_copy_asks_for_is_known_to_all_when_it_is_told_so(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.load_all()
        one, other = house.copies
        for asking, told in ((one, other), (other, one)):
            await asking.repository.unload("toy")
            assert told.repository.unready == ["toy"]
            await asking.repository.load("toy")
            assert told.repository.find().key == house.repository.find().key
            assert house.agree()

    write_toy_package(tmp_path)
    in_house(tmp_path, scenario)


def test_a_refusal_is_told_in_its_own_words(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.load_all()
        write_toy_package(tmp_path, "broken").joinpath("golden.npz").unlink()
        asking, told = house.copies
        with pytest.raises(PackageError, match=r"^broken/1: .*golden\.npz"):
            await asking.repository.load("broken")
        assert {status.state for status in told.repository.statuses()} == {"ready", "refused"}
        with pytest.raises(NotFound, match="films"):
            await asking.repository.load("films")

    write_toy_package(tmp_path)
    in_house(tmp_path, scenario)


def test_a_package_is_freed_when_every_process_has_answered_the_requests_that_had_it(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.load_all()
        asking, holding = house.copies
        with holding.lifecycle.request():
            package = holding.repository.find()
            await asking.repository.unload("toy")
            with pytest.raises(NotFound):
                holding.repository.find()
            assert house.served.states() == {"toy/1": "unloading"}
            assert (await house.served.pixels(package)).shape == (1, 8, 8, 1)
        await house.served.until("toy/1", "unloaded")
        with pytest.raises(NotFound):
            await house.served.pixels(package)

    write_toy_package(tmp_path)
    in_house(tmp_path, scenario)


def test_a_process_that_has_gone_keeps_no_package_and_holds_up_no_change(tmp_path: Path) -> None:
    async def scenario(house: House) -> None:
        await house.load_all()
        gone = Copy(tmp_path)
        async with gone.connected(house.listeners, house.repository) as channel:
            with gone.lifecycle.request():
                await house.copies[0].repository.unload("toy")
                assert house.served.states() == {"toy/1": "unloading"}
                channel.close()
                await house.served.until("toy/1", "unloaded")
        await house.copies[0].repository.load("toy")
        assert house.agree()

    write_toy_package(tmp_path)
    in_house(tmp_path, scenario)


def test_a_copy_that_was_told_nothing_says_that_its_repository_has_gone(tmp_path: Path) -> None:
    async def run() -> None:
        copy = Copy(tmp_path)
        async with wired({}, copy.repository.handlers) as (near, far):
            far.close()
            with pytest.raises(NotReady, match="gone"):
                await copy.repository.connect(near)

    asyncio.run(run())
