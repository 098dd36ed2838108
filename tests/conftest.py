"""Fixtures that more than one folder of tests uses: toy packages on disk, and a service that serves them."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package
from tests.support.turns import pytest_runtest_protocol, pytest_sessionfinish  # noqa: F401  (pytest's hooks)


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
