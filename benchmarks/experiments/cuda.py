"""On a CUDA device: fixed batch sizes, each with its own session, against one session for batches of any size.

ONNX Runtime keeps one cuDNN plan a convolution, for the last shape, and rebuilds it when the batch size changes. Both
ways get the same sequence of sizes; fixed sizes are padded, and padding is not counted as samples.

References:
    microsoft/onnxruntime, pull request 19470 (1.20: convolutions by the cuDNN frontend) and issue 23006.
"""

import sys
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import onnxruntime as ort

from benchmarks import gpu, results, workplace
from benchmarks.contenders.bare import CUDA, open_session
from benchmarks.results import Row

NETWORK: Final = "g64"
BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)


def sizes(count: int) -> list[int]:
    """A fixed sequence of batch sizes, uniform from 1 to the largest bucket."""
    return [int(size) for size in np.random.default_rng(0).integers(1, BUCKETS[-1], count, endpoint=True)]


def bucket_of(size: int) -> int:
    """The smallest bucket of at least this size."""
    return BUCKETS[bisect_left(BUCKETS, size)]


def as_they_come(model: str, provider: str, batches: Sequence[int]) -> float:
    """Run every batch in its own size, in one session.

    Args:
        model: path of the graph.
        provider: ONNX Runtime's name.
        batches: sizes, in order.

    Returns:
        Samples a second.
    """
    session = _session(model, provider)
    _draw(session, batches[0])
    began_s = time.monotonic()
    for size in batches:
        _draw(session, size)
    return sum(batches) / (time.monotonic() - began_s)


def in_buckets(model: str, provider: str, batches: Sequence[int]) -> float:
    """Run every batch, padded, in the session of its bucket; arguments and result as in `as_they_come`."""
    used = sorted({bucket_of(size) for size in batches})
    sessions = {bucket: _session(model, provider) for bucket in used}
    for bucket, session in sessions.items():
        _draw(session, bucket)
    began_s = time.monotonic()
    for size in batches:
        bucket = bucket_of(size)
        _draw(sessions[bucket], bucket)
    return sum(batches) / (time.monotonic() - began_s)


def measure(model: str, provider: str, rounds: int, count: int) -> Iterator[Row]:
    """Measure both ways in turn.

    Args:
        model: path of the graph.
        provider: ONNX Runtime's name.
        rounds: measurements of each way.
        count: batches of a measurement.
    """
    for turn in range(rounds):
        for way, run in (("as they come", as_they_come), ("buckets", in_buckets)):
            yield {"round": turn, "way": way, "samples_per_s": run(model, provider, sizes(count))}


def _usable(model: str) -> bool:
    """Whether a session runs on the device; not tried without a driver, where ONNX Runtime prints many errors."""
    if not gpu.present() or CUDA not in ort.get_available_providers():
        return False
    ort.preload_dlls()
    try:
        session = _session(model, CUDA)
        _draw(session, 1)  # cuDNN is loaded by the first convolution
    except Exception as error:  # noqa: BLE001 - ONNX Runtime's exceptions share no base class
        sys.stderr.write(f"{error}\n")
        return False
    return CUDA in session.get_providers()


def _session(model: str, provider: str) -> ort.InferenceSession:
    return open_session(model, 1, provider)


def _draw(session: ort.InferenceSession, batch: int) -> None:
    latent = next(tensor for tensor in session.get_inputs() if tensor.name == "latent")
    session.run(["pixels"], {"latent": np.zeros((batch, latent.shape[1]), np.float32)})


def main(arguments: list[str]) -> None:
    """Measure, and write; without a usable device print so."""
    from benchmarks.contenders.contenders import Setting  # noqa: PLC0415 - makes graphs, which needs `onnx`

    asked = workplace.parser("cuda", __doc__).parse_args(arguments)
    model = str(Setting(network=NETWORK).model)
    if not _usable(model):
        sys.stdout.write("no CUDA device is usable here; nothing was measured\n")
        return
    rounds, count = (1, 20) if asked.quick else (5, 200)
    rows = workplace.measured(measure(model, CUDA, rounds, count), "batches", 2 * rounds)
    settings = {"network": NETWORK, "rounds": rounds, "batches": count}
    sys.stdout.write(f"{results.write('cuda', settings, rows, workplace.folder(asked))}\n")
