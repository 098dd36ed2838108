"""Ray Serve: HAProxy receives the requests, one actor a worker batches and runs them, as its manual advises.

Environment variables (`contenders.py`) choose HAProxy and avoid thread hand-overs; by default a Python process
receives the requests and forwards each to a worker.

References:
    https://docs.ray.io/en/latest/serve/advanced-guides/performance.html
    https://docs.ray.io/en/latest/serve/advanced-guides/dyn-req-batch.html
"""

import ray  # installed in the peer's own environment
from ray import serve
from ray.serve.schema import LoggingConfig
from starlette.requests import Request
from starlette.responses import Response
from work import BATCH, PORT, WORKERS, Generator, Seeds, seeds_of  # type: ignore[import-not-found]  # beside this file

MOST_WAITING = 256  # requests in one worker: more than any load here has connections
STORE_BYTES = 75 * 2**20  # the least that Ray accepts; the store is not used


@serve.deployment(num_replicas=WORKERS, max_ongoing_requests=MOST_WAITING, ray_actor_options={"num_cpus": 0})
class Sampler:
    """One worker."""

    def __init__(self) -> None:
        self._generator = Generator()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=0.0)  # type: ignore[untyped-decorator]
    async def batched(self, requests: list[Seeds]) -> list[bytes]:
        """A batch of requests to their pixels."""
        pixels: list[bytes] = self._generator.pixels(requests)
        return pixels

    async def __call__(self, request: Request) -> Response:
        """One request to its pixels; not batched where BENCH_BATCH is 1."""
        seeds = seeds_of(await request.json())
        pixels = self._generator.pixels([seeds])[0] if BATCH == 1 else await self.batched(seeds)
        return Response(pixels, media_type="application/octet-stream")


if __name__ == "__main__":
    ray.init(include_dashboard=False, log_to_driver=False, object_store_memory=STORE_BYTES)
    quiet = LoggingConfig(log_level="WARNING", enable_access_log=False)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT}, logging_config=quiet)
    served = Sampler.bind()  # type: ignore[attr-defined]  # the decorator made it a deployment
    serve.run(served, logging_config=quiet, blocking=True)
