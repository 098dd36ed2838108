"""LitServe: FastAPI receives the requests, one process a worker batches and runs them.

References:
    https://lightning.ai/docs/litserve/api-reference/litserver
"""

from typing import Any

import litserve  # type: ignore[import-not-found]  # installed in the peer's own environment
from fastapi import Response
from work import BATCH, PORT, WORKERS, Generator, Seeds, seeds_of  # type: ignore[import-not-found]  # beside this file


class Sampler(litserve.LitAPI):  # type: ignore[misc]  # its base has no types here
    """One worker."""

    def setup(self, device: str) -> None:
        """Load the generator, in the worker's process."""
        self._generator = Generator()

    def decode_request(self, request: dict[str, Any]) -> Seeds:
        """One request's body to its seeds."""
        return seeds_of(request)

    def batch(self, inputs: list[Seeds]) -> list[Seeds]:
        """Requests that wait together."""
        return inputs

    def predict(self, x: list[Seeds] | Seeds) -> list[bytes] | bytes:
        """A batch of requests to their pixels; without batches, one request."""
        pixels: list[bytes] = self._generator.pixels([x] if BATCH == 1 else x)
        return pixels[0] if BATCH == 1 else pixels

    def unbatch(self, output: list[bytes]) -> list[bytes]:
        """One answer each."""
        return output

    def encode_response(self, output: bytes) -> Response:
        """Write the pixels unchanged."""
        return Response(output, media_type="application/octet-stream")


if __name__ == "__main__":
    server = litserve.LitServer(
        Sampler(max_batch_size=BATCH, batch_timeout=0.0),
        accelerator="cpu",
        workers_per_device=WORKERS,
        timeout=30,
        fast_queue=True,
    )
    server.run(host="127.0.0.1", port=PORT, log_level="error", generate_client_file=False)
