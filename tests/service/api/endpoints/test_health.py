"""Ready is who can draw a sample now; what the real service says of itself is in `test_operation.py`."""

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from service.access.quotas import LocalQuotas
from service.api.context import Context, ThreadPool
from service.api.endpoints.health import Ready, readyz
from service.engine.config import Runtime
from service.engine.core.engine import LocalEngine
from service.engine.interface import Job, Samples
from service.engine.scheduling.scheduler import BatchLimits
from service.errors import DeadlinePassed, GanymedeError, NotFound, NotReady, QueueFull, SessionFailed
from service.metrics import Telemetry
from service.settings import Settings
from tests.support.served import Served, loaded
from tests.support.toy import write_toy_package


class Faulty(LocalEngine):
    """An engine whose device has gone.

    Args:
        error: what it says to every job.
    """

    def __init__(self, error: GanymedeError) -> None:
        super().__init__(Runtime(device="cpu", threads=1), BatchLimits(), Telemetry(CollectorRegistry()))
        self._error = error

    async def submit(self, job: Job) -> Samples:
        raise self._error


async def ask(served: Served, engine: LocalEngine) -> Ready:
    offload = ThreadPool(1)
    telemetry = Telemetry(CollectorRegistry())

    async def metrics() -> CollectorRegistry:
        return telemetry.registry

    try:
        return await readyz(
            Context(Settings(), telemetry, served.lifecycle, engine, served.repository, offload, LocalQuotas(), metrics)
        )
    finally:
        offload.close()


@pytest.mark.parametrize("error", [DeadlinePassed("late"), SessionFailed("gone"), NotFound("gone")])
def test_a_device_that_does_not_answer_is_not_ready_although_its_model_was(
    tmp_path: Path, error: GanymedeError
) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            assert served.repository.ready
            with pytest.raises(NotReady, match=r"^the device does not answer for toy/1$"):
                await ask(served, Faulty(error))

    write_toy_package(tmp_path, discriminator=False)
    asyncio.run(scenario())


def test_a_device_that_has_all_it_can_do_is_ready(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path) as served:
            await ask(served, Faulty(QueueFull("full")))

    write_toy_package(tmp_path, discriminator=False)
    asyncio.run(scenario())


def test_every_configured_model_is_asked_for_a_sample_whatever_it_is_conditioned_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with loaded(tmp_path, load_models="films,classes") as served:
            await ask(served, served.engine)
            drawn = {
                name: served.metric("ganymede_samples_total", model=name, graph="generator")
                for name in served.repository.configured
            }
            assert drawn == {"toy": 1, "films": 1, "classes": 1}

    write_toy_package(tmp_path, discriminator=False)
    write_toy_package(tmp_path, "films", kind="item", condition_count=5, prior="gumbel")
    write_toy_package(tmp_path, "classes", conditional=True, categorical=(3,))
    asyncio.run(scenario())
