"""The engine's interface: plain jobs in, plain samples out.

    GenerateJob, ScoreJob, EncodeJob ──▶ Engine.submit ──▶ Samples
    InferJob ──────────────────────────▶ Engine.infer ───▶ tensors by name

Everything that crosses it can be pickled, so that the engine may run in this process, in another or on another host. A
deadline crosses as time left (`timeout_s`), because the monotonic clocks of two processes cannot be compared.

Shapes: N samples, Z latent coordinates, Q codes, K classes, or elements of the code tensor, C channels, H height, W
width. A sample is float32 [C, H, W] of an image, float32 [D] of a vector, and int64 [] of an item.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from service.engine.model_spec import Capabilities, GraphKind, LoadReport, PackageGraphs, PackageKey
from service.engine.statistics import GraphStatistics

SamplerName = Literal["philox-1", "numpy-legacy"]
SelectionMethod = Literal["best-of", "rejection", "metropolis-hastings"]
Curve = Literal["slerp", "lerp"]
# At 0.1 a normal coordinate is redrawn 12 times on average; below, ever more often for samples that hardly differ.
LEAST_TRUNCATION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How the discriminator chooses each sample among its seed's candidates; see `sampling/selection_rules.py`.

    Attributes:
        candidates: the most that are drawn for each sample, at least 1.
        gamma: of `rejection`, in nats: above 0 fewer candidates are accepted, below 0 more; 0 is exact.
    """

    method: SelectionMethod
    candidates: int
    gamma: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """Samples interpolated between the latents of two seeds.

    Attributes:
        first: the seed at position 0, from which labels and codes that are left out are drawn.
        last: the seed at position 1.
        positions: [N] float64, each in [0, 1].
        curve: `slerp`, an arc, for normal latents; or `lerp`, a straight line.
    """

    first: int
    last: int
    positions: NDArray[np.float64]
    curve: Curve


@dataclass(frozen=True, slots=True)
class Share:
    """For whom a job is computed, where several wait.

    Attributes:
        name: of the caller's key; jobs without one are those of one caller.
        weight: of the caller against others.
    """

    name: str = ""
    weight: float = 1.0


NO_SHARE = Share()


# Not frozen, as every field of a frozen dataclass is set by a call, and each request makes these two.
@dataclass(slots=True, kw_only=True)
class GenerateJob:
    """Draw N samples from a package's generator.

    Attributes:
        seeds: [N] uint64, one per sample; None when `latents` or a `path` are given.
        latents: [N, Z] float32, finite; None when `seeds` or a `path` are given.
        path: between two seeds; None when `seeds` or `latents` are given.
        labels: [N] int64 classes of a conditional package; None draws them from the seeds.
        codes: [N, Q] float64: the value of each categorical code, then the number of each continuous one; NaN, or None
            for all, draws it from the seed.
        conditions: [N] int64 condition ids; None for a package without a condition.
        sampler: how a seed becomes a latent.
        candidates: [N] uint64, which of its seed's candidates each sample is; None is candidate 0 of every seed.
        truncation: t, at least 0.1: latent coordinates outside ±t are redrawn; None leaves the prior whole.
        selection: has the discriminator choose among the candidates of each seed; excludes `candidates`.
        want_pixels: answer `pixels`; images only.
        want_sample: answer `sample`.
        want_logits: answer `logits`; of an image, those of its pixels, so that they equal the score of the caller's PNG
            bit for bit.
        timeout_s: seconds left for queueing and computing together; None is no limit.
        share: for whom it is computed.
        checked_for: capabilities for which `check_generate` passed the job, so that it is not checked again; neither
            copied by `dataclasses.replace` nor sent to another process.
    """

    package: PackageKey
    seeds: NDArray[np.uint64] | None = None
    latents: NDArray[np.float32] | None = None
    path: Path | None = None
    labels: NDArray[np.int64] | None = None
    codes: NDArray[np.float64] | None = None
    conditions: NDArray[np.int64] | None = None
    sampler: SamplerName = "philox-1"
    candidates: NDArray[np.uint64] | None = None
    truncation: float | None = None
    selection: Selection | None = None
    want_pixels: bool = True
    want_sample: bool = False
    want_logits: bool = False
    timeout_s: float | None = None
    share: Share = NO_SHARE
    checked_for: Capabilities | None = field(default=None, init=False, repr=False, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleJob:
    """Run the discriminator or the encoder on N samples that the caller has.

    Attributes:
        pixels: [N, H, W, C] uint8 images; or None when `sample` is given.
        sample: [N, …], finite, in the package's own range; or None when `pixels` are given.
        labels: [N] int64, where the graph takes a label.
        conditions: [N] int64, where the graph takes a condition.
        timeout_s: as in `GenerateJob`, and so is `share`.
    """

    package: PackageKey
    pixels: NDArray[np.uint8] | None = None
    sample: NDArray[np.float32] | NDArray[np.int64] | None = None
    labels: NDArray[np.int64] | None = None
    conditions: NDArray[np.int64] | None = None
    timeout_s: float | None = None
    share: Share = NO_SHARE


class ScoreJob(SampleJob):
    """Ask for the samples' logits; where the discriminator takes a label and none are given, under every class."""

    __slots__ = ()


class EncodeJob(SampleJob):
    """Ask for the samples' latents and codes, whichever the encoder answers."""

    __slots__ = ()


Job = GenerateJob | ScoreJob | EncodeJob


@dataclass(frozen=True, slots=True, kw_only=True)
class InferJob:
    """Run one of a package's graphs on tensors by its own names, whatever they mean.

    Attributes:
        inputs: name → [N, …], of the stated types.
        outputs: names of those wanted.
        seeds: [N] uint64, from which a generator's inputs that are left out are drawn; None where all are given.
        sampler: how a seed becomes a latent.
        timeout_s: as in `GenerateJob`, and so is `share`.
    """

    package: PackageKey
    graph: GraphKind
    inputs: Mapping[str, NDArray[np.generic]]
    outputs: tuple[str, ...]
    seeds: NDArray[np.uint64] | None = None
    sampler: SamplerName = "philox-1"
    timeout_s: float | None = None
    share: Share = NO_SHARE


@dataclass(slots=True, kw_only=True)
class Samples:
    """The answer to a job: exactly the arrays that it asked for, all with the same N.

    Attributes:
        pixels: uint8 [N, H, W, C].
        sample: float32 or, of items, int64 [N, …].
        logits: float32 [N]; [N, K] where each sample was scored under every one of K classes.
        labels: int64 [N], given or drawn; None for an unconditional package.
        codes: float64 [N, Q], given or drawn; None for a package without codes.
        latents: float32 [N, Z] from an encoder.
        readings: float32 [N, K] from an encoder: the probabilities of each categorical code, then the means of the
            continuous ones.
    """

    pixels: NDArray[np.uint8] | None = None
    sample: NDArray[np.float32] | NDArray[np.int64] | None = None
    logits: NDArray[np.float32] | None = None
    labels: NDArray[np.int64] | None = None
    codes: NDArray[np.float64] | None = None
    latents: NDArray[np.float32] | None = None
    readings: NDArray[np.float32] | None = None


def to_sample_dtype(sample: NDArray[np.generic]) -> NDArray[np.float32] | NDArray[np.int64]:
    """Convert samples to the type of `Samples.sample`: items to int64, all others to float32."""
    if sample.dtype == np.int64:
        return sample.astype(np.int64, copy=False)
    return sample.astype(np.float32, copy=False)


class Engine(Protocol):
    """Loads packages and answers jobs."""

    async def load(self, package: PackageGraphs) -> LoadReport:
        """Make a package's sessions, verify them against its golden vectors, and only then accept jobs for it.

        Raises:
            GoldenMismatch: a graph does not reproduce what its exporter saw.
            GraphRefused: the backend cannot load a graph, or its tensors are not the stated ones.
        """
        ...

    async def unload(self, key: PackageKey) -> None:
        """Refuse new jobs for a package, finish those it has, free its sessions."""
        ...

    async def submit(self, job: Job) -> Samples:
        """Answer one job.

        Cancelling the awaiting task withdraws what is still queued and changes no other job.

        Raises:
            InvalidRequest: the job does not fit the package.
            NotFound: the package is not loaded.
            QueueFull: the queue cannot take the job's samples; `retry_after_s` comes from the measured rate.
            DeadlinePassed: `timeout_s` went by.
            NotReady: the engine is draining.
            SessionFailed: the session failed on a batch that held some of the job.
            NotFinite: the package answered NaN or infinity to ordinary inputs.
        """
        ...

    async def infer(self, job: InferJob) -> Mapping[str, NDArray[np.generic]]:
        """Run one graph; returns output name → [N, …]. Batched, cancelled and refused as in `submit`."""
        ...

    async def statistics(self, key: PackageKey) -> Mapping[GraphKind, GraphStatistics]:
        """Counters of each graph of a package since it was loaded.

        Raises:
            NotFound: the package is not loaded.
        """
        ...

    async def drain(self, timeout_s: float) -> None:
        """Refuse new jobs, finish those in progress within `timeout_s`, then fail the rest and free everything."""
        ...
