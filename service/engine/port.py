"""The engine's one door: plain jobs in, plain samples out.

Everything that crosses this door can be pickled, so that the engine may live in this process, in another one
or on another host, and a route never learns which. The engine knows nothing of HTTP, of manifests or of
media types: packages arrive as `PackageGraphs` (`service/engine/graphs.py`), requests as jobs.

    route ──GenerateJob / ScoreJob──▶ Engine.submit ──▶ Samples

A deadline crosses as *time left* (`timeout_s`), because monotonic clocks of two processes cannot be compared.

Shapes: N samples, Z latent coordinates, C channels, H height, W width.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import LoadReport, PackageGraphs, PackageKey

SamplerName = Literal["philox-1", "numpy-legacy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerateJob:
    """Draw N samples from a package's generator.

    Attributes:
        package: which generator.
        seeds: [N] uint64, one a sample; or None when `latents` are given.
        latents: [N, Z] float32, finite; or None when `seeds` are given.
        labels: [N] int64 classes of a conditional package; None draws them from the seeds.
        sampler: how a seed becomes a latent.
        want_pixels: answer `pixels`, uint8 [N, H, W, C].
        want_sample: answer `sample`, float32 [N, C, H, W] (or [N, ...] of a vector or item package).
        want_logits: answer `logits`: what the discriminator says of the *quantised* sample, so that it equals the
            score of the sample's own PNG bit for bit.
        timeout_s: seconds left for queueing and computing together; None waits as long as it takes.
    """

    package: PackageKey
    seeds: NDArray[np.uint64] | None = None
    latents: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    sampler: SamplerName = "philox-1"
    want_pixels: bool = True
    want_sample: bool = False
    want_logits: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreJob:
    """Ask a package's discriminator for the logits of N samples.

    Attributes:
        package: which discriminator.
        pixels: [N, H, W, C] uint8 images; or None when `sample` is given.
        sample: [N, C, H, W] float32 in the package's range, finite (or [N, ...] of other kinds); or None.
        labels: [N] int64 for a discriminator that asks for the label.
        timeout_s: as in `GenerateJob`.
    """

    package: PackageKey
    pixels: NDArray[np.uint8] | None = None
    sample: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    timeout_s: float | None = None


Job = GenerateJob | ScoreJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What a job was answered; exactly the arrays that it asked for, all with the same N.

    Attributes:
        pixels: uint8 [N, H, W, C].
        sample: float32 [N, C, H, W].
        logits: float32 [N].
        labels: int64 [N], given or drawn; None for an unconditional package.
    """

    pixels: NDArray[np.uint8] | None = None
    sample: NDArray[np.float32] | None = None
    logits: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None


class Engine(Protocol):
    """Loads packages and answers jobs."""

    async def load(self, package: PackageGraphs) -> LoadReport:
        """Make a package's sessions, replay its golden vectors, warm it up, and only then accept jobs for it.

        Raises:
            GoldenMismatch: a graph does not reproduce what its exporter saw.
            GraphRefused: ONNX Runtime cannot load the graph, or its tensors are not the stated ones.
        """
        ...

    async def unload(self, key: PackageKey) -> None:
        """Refuse new jobs for a package, finish those it has, free its sessions."""
        ...

    async def submit(self, job: Job) -> Samples:
        """Answer one job.

        Cancelling the awaiting task withdraws what is still queued and changes no other job.

        Raises:
            NotFound: the package is not loaded.
            QueueFull: the queue cannot take the job's samples; `retry_after_s` comes from the measured rate.
            DeadlinePassed: `timeout_s` went by.
            NotReady: the engine is draining.
            SessionFailed: the session failed on the batch that held the job.
        """
        ...

    async def drain(self, timeout_s: float) -> None:
        """Refuse new jobs, finish those there are within `timeout_s`, then fail what is left and free everything."""
        ...
