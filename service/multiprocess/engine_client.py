"""The engine in another process: `Engine` of `port.py`, with a channel to whoever computes.

    route ─▶ RemoteEngine ──channel──▶ engine_handlers ─▶ LocalEngine of the engine's process ◀── others like it

Both ends stand here, since they are one agreement. Everything that makes an engine, its queue, its batches, its limits
and its counters, is at the far end and there once, so that what many processes ask for runs in the same batches; here
is nothing but a name for each of its doors. A deadline crosses as time left and is kept over there.

It knows neither how processes are started nor what else their channel carries.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

from service.engine.interface import Engine, InferJob, Job, Samples
from service.engine.model_spec import Array, GraphKind, LoadReport, PackageGraphs, PackageKey
from service.engine.statistics import GraphStatistics
from service.errors import DeadlinePassed, NotReady
from service.multiprocess.rpc import Channel, Handler

# Beyond a job's own deadline, which the far end keeps: so long may its answer be on its way. If the far end hangs, the
# caller is told no later.
_GRACE_S: Final = 0.25
# For what is answered from memory.
_PATIENCE_S: Final = 5.0


class RemoteEngine:
    """Computes in another process.

    Args:
        channel: to the process of an engine, which answers with `engine_handlers`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._jobs = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    async def load(self, package: PackageGraphs) -> LoadReport:
        """As `Engine.load`."""
        return cast("LoadReport", await self._channel.call("engine.load", package))

    async def unload(self, key: PackageKey) -> None:
        """As `Engine.unload`."""
        await self._channel.call("engine.unload", key)

    async def submit(self, job: Job) -> Samples:
        """As `Engine.submit`."""
        return cast("Samples", await self._ask("engine.submit", job))

    async def infer(self, job: InferJob) -> Mapping[str, Array]:
        """As `Engine.infer`."""
        return cast("Mapping[str, Array]", await self._ask("engine.infer", job))

    async def statistics(self, key: PackageKey) -> Mapping[GraphKind, GraphStatistics]:
        """As `Engine.statistics`."""
        return cast(
            "Mapping[GraphKind, GraphStatistics]",
            await self._channel.call("engine.statistics", key, patience_s=_PATIENCE_S),
        )

    async def drain(self, timeout_s: float) -> None:
        """As `Engine.drain`, of the jobs that were asked for here; the far engine goes on for others."""
        self._draining = True
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._idle.wait()
        self._channel.close()

    async def _ask(self, name: str, job: Job | InferJob) -> object:
        if self._draining:
            raise NotReady("the service is stopping")
        self._jobs += 1
        self._idle.clear()
        try:
            if job.timeout_s is None:
                return await self._channel.call(name, job)
            late = DeadlinePassed(f"the request's deadline of {job.timeout_s:g} s passed and the engine did not answer")
            return await self._channel.call(name, job, patience_s=job.timeout_s + _GRACE_S, late=late)
        finally:
            self._jobs -= 1
            if self._jobs == 0:
                self._idle.set()


def engine_handlers(engine: Engine) -> Mapping[str, Handler]:
    """What the process of an engine answers to `RemoteEngine`s.

    Args:
        engine: which computes for all of them. Draining it is its own process's affair.
    """
    return {
        "engine.load": engine.load,
        "engine.unload": engine.unload,
        "engine.submit": engine.submit,
        "engine.infer": engine.infer,
        "engine.statistics": engine.statistics,
    }
