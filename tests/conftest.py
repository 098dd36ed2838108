"""Fixtures that more than one folder of tests uses, and whose turn it is where several processes run tests."""

import fcntl
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package

# Locked, not written: a folder is there in every process, and in the same place.
_TURN = os.open(Path(__file__).parent, os.O_RDONLY)
_NEXT = os.open(Path(__file__).parent / "support", os.O_RDONLY)


@pytest.hookimpl(wrapper=True, tryfirst=True)  # around the timeout, which is not for waiting
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test that is marked `alone` while no other process runs one; pytest-xdist knows no such thing."""
    if not hasattr(item.config, "workerinput"):
        return (yield)
    # Whoever waits for the others to end holds `_NEXT`, so that they do not begin another test before it.
    fcntl.flock(_NEXT, fcntl.LOCK_EX)
    fcntl.flock(_TURN, fcntl.LOCK_EX if item.get_closest_marker("alone") else fcntl.LOCK_SH)
    fcntl.flock(_NEXT, fcntl.LOCK_UN)
    try:
        return (yield)
    finally:
        fcntl.flock(_TURN, fcntl.LOCK_UN)


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing that a test does is remembered in the user's own cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GANYMEDE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of toys, each unlike the default in one way."""
    folder = tmp_path_factory.mktemp("models")
    write_toy_package(folder, "toy", 1)
    write_toy_package(folder, "toy", 2, seed=2)
    write_toy_package(folder, "classes", conditional=True, encoder=True)
    write_toy_package(folder, "unnamed", conditional=True, unknown_label=True)
    write_toy_package(folder, "many", conditional=True, label_count=65)
    write_toy_package(folder, "blind", discriminator=False)
    write_toy_package(folder, "colour", channels=3, height=6, width=10)
    write_toy_package(folder, "uniform", prior="uniform")
    write_toy_package(folder, "coupled", batch_coupled=True)
    write_toy_package(folder, "infogan", categorical=(10,), continuous=((-1.0, 1.0), (0.0, 5.0)), encoder=True)
    write_toy_package(folder, "bigan", encoder=True)
    write_toy_package(folder, "ring", kind="vector", encoder=True, reference_count=32)
    write_toy_package(folder, "plain", kind="vector", vector_size=3)
    write_toy_package(folder, "films", kind="item", condition_count=5, prior="gumbel")
    write_toy_package(folder, "large", channels=3, height=72, width=72, discriminator=False)
    return folder


@pytest.fixture(scope="session")
def service(models_dir: Path) -> Iterator[ServiceProcess]:
    """The service with its default settings, for every test that changes nothing of it."""
    with ServiceProcess(models_dir) as process:
        yield process.loaded()


@pytest.fixture(scope="session")
def client(service: ServiceProcess) -> Iterator[httpx.Client]:
    """A client of `service`."""
    with service.client() as client:
        yield client
