"""MLServer: FastAPI receives and batches the requests, one process a worker runs them (or FastAPI's).

Its HTTP is JSON only, so responses are base64: a custom endpoint could return bytes, but its requests are not batched.

References:
    https://docs.seldon.ai/mlserver/user-guide/adaptive-batching
    https://docs.seldon.ai/mlserver/user-guide/parallel-inference
    https://docs.seldon.ai/mlserver/user-guide/custom
"""

import asyncio
import os
import signal

import uvloop
from mlserver import MLModel, MLServer, ModelSettings, Settings  # type: ignore[import-not-found]  # peer's own
from mlserver.codecs import Base64Codec, NumpyCodec  # type: ignore[import-not-found]  # the same
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]  # the same
from work import BATCH, PORT, WORKERS, Generator  # type: ignore[import-not-found]  # beside this file

FREE_PORT = 0  # any port for gRPC, which cannot be switched off
LEAST_WAIT_S = 0.0001  # with 0 it does not batch


class Sampler(MLModel):  # type: ignore[misc]  # its base has no types here
    """One worker."""

    async def load(self) -> bool:
        """Load the generator, in the worker's process."""
        self._generator = Generator()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """A batch of requests, each its first seed and their number, to their pixels."""
        asked = {tensor.name: NumpyCodec.decode_input(tensor).ravel().tolist() for tensor in payload.inputs}
        pixels = self._generator.pixels(list(zip(asked["first"], asked["count"], strict=True)))
        answer = Base64Codec.encode_output("pixels", pixels, use_bytes=False)
        return InferenceResponse(model_name=self.name, outputs=[answer])


async def serve() -> None:
    """Serve until a signal ends it; the server must be made on the running event loop."""
    server = MLServer(
        Settings(
            host="127.0.0.1",
            http_port=PORT,
            grpc_port=FREE_PORT,
            metrics_endpoint=None,
            parallel_workers=WORKERS if WORKERS > 1 else 0,
            gzip_enabled=False,
            debug=False,
        )
    )
    # Its own shutdown waits for workers that it has already ended.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)
    model = ModelSettings(
        name="generator",
        implementation="serve_mlserver.Sampler",
        max_batch_size=BATCH,
        max_batch_time=LEAST_WAIT_S,
    )
    await server.start([model])


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(serve())
