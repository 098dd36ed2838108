"""Draws shards with the service's own engine: the bytes that POST /generate answers for these seeds.

jobs of a shard, some ahead ──▶ engine ──▶ encoder threads ──▶ in order, to the file
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Final

from service.api.requests.fields import QUERY
from service.api.requests.generate import GeneratePlan, plan_generate
from service.api.sample_types import kind_of
from service.api.schemas.requests import GenerateRequest
from service.bulk.folder import BulkFolder
from service.bulk.formats import NpyWriter, TarWriter
from service.bulk.plan import BulkRefused, Plan, Shard
from service.engine.interface import Engine, Samples
from service.engine.retry import submit
from service.metrics import Telemetry
from service.packages.registry import ServedPackage
from service.settings import Settings

# Jobs in the queue or being encoded: enough that no core waits for a file, few enough to be held in memory.
JOBS_AHEAD: Final = 4


class Drawing:
    """A package that is loaded, and what is drawn from it.

    Args:
        engine: that has it loaded.
        package: that draws.
        request: what to draw, without seeds.
        plan: of the run.
        settings: of the service.
        telemetry: counts the scores of samples.

    Raises:
        InvalidRequest: the package or the form does not have what is asked for.
        BulkRefused: the bytes of a sample are not the same each time.
    """

    def __init__(
        self,
        engine: Engine,
        package: ServedPackage,
        request: GenerateRequest,
        plan: Plan,
        settings: Settings,
        telemetry: Telemetry,
    ) -> None:
        self._engine, self._package, self._request = engine, package, request
        self._settings, self._dtype = settings, plan.dtype
        self._writer = NpyWriter() if plan.format == "npy" else TarWriter(telemetry)
        self._kind = kind_of(package.manifest.sample)
        self._plan(plan.first_seed + plan.n - 1, 1)
        self._first = self._plan(plan.first_seed, 1)
        self._chunk = min(self._first.chunk_samples, max(1, settings.max_streamed_samples // self._first.drawn))
        scores = self._first.job.selection is not None or self._first.job.want_logits
        used = (package.report.generator, package.report.discriminator if scores else None)
        if not all(graph is None or graph.reproducible for graph in used):
            raise BulkRefused(
                "with GANYMEDE_REPRODUCIBILITY=fast a shard that is drawn again may have other bytes; set it to strict"
            )
        self._pool = ThreadPoolExecutor(settings.encoder_threads, thread_name_prefix="media")

    async def draw(self, folder: BulkFolder, shard: Shard, drawn: Callable[[int], object] = id) -> bool:
        """Draw a shard into a folder, unless it is finished.

        Args:
            drawn: told of how many more samples were written.

        Returns:
            Whether it is finished; not where another process is writing it.

        Raises:
            BulkRefused: as `BulkFolder.writing`.
            OSError: it cannot be written, and nothing of it is left.
        """
        with folder.writing(shard) as file:
            if file is not None:
                async with aclosing(self._pieces(shard)) as pieces:
                    async for piece, count in pieces:
                        await asyncio.to_thread(file.write, piece)
                        drawn(count)
        return folder.finished(shard) is not None

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    async def _pieces(self, shard: Shard) -> AsyncGenerator[tuple[bytes, int]]:
        """The pieces of a shard, each with how many samples it has."""
        yield self._writer.begin(self._first, shard.count), 0
        ahead: deque[asyncio.Task[tuple[bytes, int]]] = deque()
        try:
            for start in range(0, shard.count, self._chunk):
                count = min(self._chunk, shard.count - start)
                ahead.append(asyncio.create_task(self._piece(shard.first_seed + start, count)))
                if len(ahead) == JOBS_AHEAD:
                    yield await ahead[0]
                    ahead.popleft()
            while ahead:
                yield await ahead[0]
                ahead.popleft()
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)
        yield self._writer.end(), 0

    async def _piece(self, first: int, count: int) -> tuple[bytes, int]:
        plan = self._plan(first, count)

        def attempt() -> Awaitable[Samples]:
            return self._engine.submit(plan.job)

        samples = await submit(attempt, retry=True)
        written = asyncio.get_running_loop().run_in_executor(self._pool, self._writer.piece, plan, samples)
        return await written, count

    def _plan(self, first: int, count: int) -> GeneratePlan:
        """Plan a request for some of the samples, as the service would."""
        request = self._request.model_copy(update={"seed": first, "n": count})
        return plan_generate(request, self._package, self._kind, self._writer.media, self._dtype, self._settings, QUERY)
