"""The engine of another process: `RemoteEngine` implements `Engine` over a channel, `engine_handlers` is its far end.

`RemoteQuotas` and `quota_handlers` do the same for the quotas of keys, which hold for all processes together.

    endpoint ─▶ RemoteEngine ──channel──▶ engine_handlers ─▶ LocalEngine of the engine process ◀── other API processes

Queue, batches, limits and counters exist once, at the far end, so that jobs of all processes run in the same batches. A
deadline crosses as the time left, and is kept at the far end.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, cast

from service import tracing
from service.access.quotas import Limit, Quotas, Standing
from service.engine.interface import Engine, InferJob, Job, Samples
from service.engine.model_spec import Array, GraphKind, LoadReport, PackageGraphs, PackageKey
from service.engine.statistics import GraphStatistics
from service.errors import DeadlinePassed, NotReady
from service.multiprocess.rpc import Channel, Handler
from service.tracing import Carrier, Traces, follow

# Time for an answer to arrive, beyond a job's deadline, which the far end keeps: for the callers of a hung engine.
_GRACE_S: Final = 0.25
# For calls that are answered from memory.
_PATIENCE_S: Final = 5.0


class RemoteEngine:
    """Computes in another process.

    Args:
        channel: to the engine process, which answers with `engine_handlers`.
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
        """As `Engine.drain`, for jobs of this process only; the engine goes on for others."""
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
            trace = tracing.current()
            if trace is None:
                return await self._call(name, job)
            with trace.calling(name) as carrier:
                return await self._call(name, job, carrier)
        finally:
            self._jobs -= 1
            if self._jobs == 0:
                self._idle.set()

    async def _call(self, name: str, job: Job | InferJob, *carrier: Carrier) -> object:
        if job.timeout_s is None:
            return await self._channel.call(name, job, *carrier)
        late = DeadlinePassed(f"the request's deadline of {job.timeout_s:g} s passed and the engine did not answer")
        return await self._channel.call(name, job, *carrier, patience_s=job.timeout_s + _GRACE_S, late=late)


def engine_handlers(engine: Engine, traces: Traces | None = None) -> Mapping[str, Handler]:
    """What the engine process answers to each `RemoteEngine`; only the engine process itself drains the engine.

    Args:
        traces: of the engine process; a job that comes with a carrier is traced on.
    """

    def traced(handler: Handler) -> Handler:
        async def handle(job: Job | InferJob, carrier: Carrier | None = None) -> object:
            if traces is None or carrier is None:
                return await handler(job)
            follow(traces.joined(carrier))  # for the task of this call
            return await handler(job)

        return handle

    return {
        "engine.load": engine.load,
        "engine.unload": engine.unload,
        "engine.submit": traced(engine.submit),
        "engine.infer": traced(engine.infer),
        "engine.statistics": engine.statistics,
    }


class RemoteQuotas:
    """The quotas that the engine process keeps.

    Args:
        channel: to it; it answers with `quota_handlers`.
    """

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    async def take(self, name: str, limit: Limit, samples: int) -> Standing:
        """As `Quotas.take`."""
        asked = name, limit.samples_per_second, limit.burst, samples
        return Standing(*await self._channel.call("quotas.take", *asked, patience_s=_PATIENCE_S))

    async def give_back(self, name: str, limit: Limit, samples: int) -> None:
        """As `Quotas.give_back`; without an engine there is nothing to give back to."""
        asked = name, limit.samples_per_second, limit.burst, samples
        with suppress(NotReady):
            await self._channel.call("quotas.give_back", *asked, patience_s=_PATIENCE_S)


def quota_handlers(quotas: Quotas) -> Mapping[str, Handler]:
    """What the engine process answers to each `RemoteQuotas`."""

    async def take(name: str, samples_per_second: float, burst: int, samples: int) -> tuple[int, ...]:
        return tuple(await quotas.take(name, Limit(samples_per_second, burst), samples))

    async def give_back(name: str, samples_per_second: float, burst: int, samples: int) -> None:
        await quotas.give_back(name, Limit(samples_per_second, burst), samples)

    return {"quotas.take": take, "quotas.give_back": give_back}
