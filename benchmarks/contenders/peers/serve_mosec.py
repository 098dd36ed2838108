"""mosec: Rust receives and batches the requests, one Python process a worker runs them.

References:
    https://mosecorg.github.io/mosec/reference/interface.html
"""

import json
import os
import sys

from mosec import Server, Worker  # type: ignore[import-not-found]  # installed in the peer's own environment
from work import BATCH, PORT, WORKERS, Generator, Seeds, seeds_of  # type: ignore[import-not-found]  # beside this file

LEAST_WAIT_MS = 1  # mosec reads 0 as its default of 10 ms; without batches it does not wait


class Sampler(Worker):  # type: ignore[misc]  # its base has no types here
    """One worker."""

    resp_mime_type = "application/octet-stream"

    def __init__(self) -> None:
        self._generator = Generator()

    def deserialize(self, data: bytes) -> Seeds:
        """One request's body to its seeds."""
        return seeds_of(json.loads(data))

    def forward(self, data: list[Seeds] | Seeds) -> list[bytes] | bytes:
        """A batch of requests to their pixels; without batches, one request."""
        pixels: list[bytes] = self._generator.pixels([data] if BATCH == 1 else data)
        return pixels[0] if BATCH == 1 else pixels

    def serialize(self, data: bytes) -> bytes:
        """Write the pixels unchanged."""
        return data


if __name__ == "__main__":
    sys.argv[1:] = f"--address 127.0.0.1 --port {PORT} --timeout 30000 --log-level error".split()
    os.environ["PYTHONPATH"] = os.path.dirname(__file__)  # noqa: PTH120 - for the workers that mosec spawns
    server = Server()
    server.append_worker(Sampler, num=WORKERS, max_batch_size=BATCH, max_wait_time=LEAST_WAIT_MS)
    server.run()
