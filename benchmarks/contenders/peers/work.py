"""The model code of all peers: seeds to latents, latents to pixels.

The peers' environments have only NumPy and ONNX Runtime, so nothing else is imported. Sample i's latent is drawn from
seed + i alone, as in our service, with NumPy's Philox, re-keyed for each: the cheapest way that NumPy has.

    BENCH_MODEL    path of the ONNX file       BENCH_THREADS   of one session
    BENCH_WORKERS  model workers               BENCH_PORT      to listen on
    BENCH_BATCH    most requests in one batch

Shapes: N samples of all requests together, Z latent.
"""

import os
from collections.abc import Sequence
from typing import Final

import numpy as np
import onnxruntime as ort

MODEL: Final = os.environ.get("BENCH_MODEL", "")
THREADS: Final = int(os.environ.get("BENCH_THREADS", "1"))
WORKERS: Final = int(os.environ.get("BENCH_WORKERS", "1"))
PORT: Final = int(os.environ.get("BENCH_PORT", "8000"))
BATCH: Final = int(os.environ.get("BENCH_BATCH", "1"))

Seeds = tuple[int, int]  # the first, and how many


class Generator:
    """An image generator in one worker: `BENCH_MODEL` on `BENCH_THREADS` threads."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(MODEL, options, providers=["CPUExecutionProvider"])
        inputs = {tensor.name: tensor.shape for tensor in self._session.get_inputs()}
        self._latent_size = inputs["latent"][1]
        self._has_label = "label" in inputs
        self._bits = np.random.Philox(0)
        self._fresh = self._bits.state  # counter at zero, nothing buffered
        self._numbers = np.random.Generator(self._bits)

    def pixels(self, requests: Sequence[Seeds]) -> list[bytes]:
        """Compute a batch of requests in one run.

        Args:
            requests: the seeds of each.

        Returns:
            For each request uint8 [n, H, W, C], as bytes.
        """
        seeds = [first + place for first, count in requests for place in range(count)]
        latent = np.empty((len(seeds), self._latent_size), np.float32)
        for row, seed in enumerate(seeds):
            self._fresh["state"]["key"][0] = seed
            self._bits.state = self._fresh
            self._numbers.standard_normal(out=latent[row], dtype=np.float32)
        feeds = {"latent": latent}
        if self._has_label:
            feeds["label"] = np.array(seeds, np.int64) % 10
        (pixels,) = self._session.run(["pixels"], feeds)
        ends = np.cumsum([count for _, count in requests])
        return [part.tobytes() for part in np.split(pixels, ends[:-1])]


def seeds_of(request: dict[str, int]) -> Seeds:
    """The seeds that a request's JSON names."""
    return request["seed"], request["n"]
