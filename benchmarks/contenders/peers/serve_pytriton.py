"""PyTriton: Triton receives and batches the requests, one Python process a worker runs them.

References:
    https://triton-inference-server.github.io/pytriton/latest/binding_models/
"""

import numpy as np
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor  # type: ignore[import-not-found]  # peer's own
from pytriton.proxy.types import Request  # type: ignore[import-not-found]  # installed in the peer's own environment
from pytriton.triton import Triton, TritonConfig  # type: ignore[import-not-found]  # the same
from work import BATCH, PORT, WORKERS, Generator  # type: ignore[import-not-found]  # beside this file

ANY_LENGTH = -1


class Sampler:
    """One worker; its generator is loaded in the worker's own process, at the first request."""

    def __init__(self) -> None:
        self._generator: Generator | None = None

    def __call__(self, requests: list[Request]) -> list[dict[str, np.ndarray]]:
        """A batch of requests, each its first seed and their number, to their pixels."""
        self._generator = self._generator or Generator()
        seeds = [(int(request.data["first"][0, 0]), int(request.data["count"][0, 0])) for request in requests]
        return [{"pixels": np.frombuffer(part, np.uint8)[np.newaxis]} for part in self._generator.pixels(seeds)]


if __name__ == "__main__":
    config = TritonConfig(
        http_address="127.0.0.1", http_port=PORT, allow_grpc=False, allow_metrics=False, log_verbose=0
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="generator",
            infer_func=[Sampler() for _ in range(WORKERS)],
            inputs=[Tensor(name=name, dtype=np.int64, shape=(1,)) for name in ("first", "count")],
            outputs=[Tensor(name="pixels", dtype=np.uint8, shape=(ANY_LENGTH,))],
            config=ModelConfig(max_batch_size=BATCH, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        triton.serve()
