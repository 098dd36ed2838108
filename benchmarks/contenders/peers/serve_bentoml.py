"""BentoML: each worker is an HTTP process with its own model and batches, on one shared socket.

Its responses would be JSON; an output descriptor writes the bytes unchanged.

References:
    https://docs.bentoml.com/en/latest/guides/adaptive-batching.html
    https://docs.bentoml.com/en/latest/build-with-bentoml/parallelize-requests.html
"""

import os
import sys
from pathlib import Path

import bentoml  # type: ignore[import-not-found]  # installed in the peer's own environment
from starlette.responses import Response
from work import BATCH, PORT, WORKERS, Generator, seeds_of  # type: ignore[import-not-found]  # beside this file

LEAST_BATCH = 2  # the least that BentoML accepts; `batchable` switches batching off


class Pixels(bentoml.IODescriptor):  # type: ignore[misc]  # its base has no types here
    """One request's share of a batch."""

    media_type = "application/octet-stream"

    @classmethod
    async def to_http_response(cls, obj: list[bytes], serde: object) -> Response:
        """Write the pixels unchanged."""
        return Response(obj[0], media_type=cls.media_type)


@bentoml.service(workers=WORKERS, metrics={"enabled": False}, logging={"access": {"enabled": False}})
class Sampler:
    """One worker."""

    def __init__(self) -> None:
        self._generator = Generator()

    @bentoml.api(output_spec=Pixels, batchable=BATCH > 1, max_batch_size=max(BATCH, LEAST_BATCH))  # type: ignore[untyped-decorator]
    async def pixels(self, requests: list[dict[str, int]], /) -> list[bytes]:
        """A batch of requests to their pixels; each request comes as a list of one."""
        pixels: list[bytes] = self._generator.pixels([seeds_of(request) for request in requests])
        return pixels


if __name__ == "__main__":
    here = Path(__file__)
    served = [f"{here.stem}:Sampler", "--working-dir", str(here.parent)]
    address = ["--host", "127.0.0.1", "--port", str(PORT)]
    os.execv(sys.executable, [sys.executable, "-m", "bentoml", "serve", *served, *address])  # noqa: S606 - its own way
