"""What the encodings of generated samples share: timed threads, slices, and what is said of each sample.

Shapes: N samples.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from service import tracing
from service.api.context import INLINE_BYTES, Context
from service.api.requests.fields import name_codes
from service.api.requests.generate import GeneratePlan
from service.engine.interface import Samples
from service.errors import ServiceFault
from service.media.negotiation import Media
from service.metrics import Telemetry
from service.packages.registry import ServedPackage

# Encoded at a time on one thread, so that requests share the threads: about a millisecond of small PNGs.
SLICE_SAMPLES = 32

P = ParamSpec("P")
T = TypeVar("T")

# Field name → one value per sample.
Columns = dict[str, list[object]]


class ResponseEncoder:
    """Encodes one response, on threads where it is large, and records the seconds that it takes."""

    def __init__(self, parts: Context, media: Media) -> None:
        self._offload = parts.offload
        self._histogram = parts.telemetry.encode_seconds.labels(media.name)
        self._media = media
        self._spent_s = 0.0
        self._began: float | None = None

    async def run(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` on a thread; the wait for a thread is not counted."""
        if self._began is None:
            self._began = time.monotonic()

        def timed() -> tuple[T, float]:
            began = time.monotonic()
            return work(*args, **kwargs), time.monotonic() - began

        result, spent_s = await self._offload.run(timed)
        self._spent_s += spent_s
        return result

    async def run_sized(self, size_bytes: int, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `work` here when its samples are small, which takes less than a thread costs, else on a thread."""
        if size_bytes > INLINE_BYTES:
            return await self.run(work, *args, **kwargs)
        began = time.monotonic()
        if self._began is None:
            self._began = began
        result = work(*args, **kwargs)
        self._spent_s += time.monotonic() - began
        return result

    def done(self) -> None:
        """Record a complete response."""
        self._histogram.observe(self._spent_s)
        if (trace := tracing.current()) is not None and self._began is not None:
            said = {"ganymede.format": self._media.name, "ganymede.encode_s": self._spent_s}
            trace.stage("encode", self._began, time.monotonic(), said)


def pixels_of(samples: Samples) -> NDArray[np.uint8]:
    """Pixels, uint8 [N, H, W, C], of a job that asked for them."""
    if samples.pixels is None:
        raise ServiceFault("the engine answered no pixels")
    return samples.pixels


def rows_of(samples: Samples) -> NDArray[np.generic]:
    """Raw values [N, …] where a job asked for them, else pixels."""
    return pixels_of(samples) if samples.sample is None else samples.sample


def logits_of(samples: Samples) -> NDArray[np.float32]:
    """Logits of a job that asked for them, float32 [N], or [N, K] under each of K classes."""
    if samples.logits is None:
        raise ServiceFault("the engine answered no logits")
    return samples.logits


def slices_of(samples: Samples) -> Iterator[tuple[slice, Samples]]:
    """Cut samples into slices that are encoded at a time, each with its place."""
    count = len(rows_of(samples))
    columns = {field.name: getattr(samples, field.name) for field in fields(Samples)}
    for start in range(0, count, SLICE_SAMPLES):
        place = slice(start, min(start + SLICE_SAMPLES, count))
        yield place, Samples(**{name: column if column is None else column[place] for name, column in columns.items()})


def realness_of(package: ServedPackage, samples: Samples, telemetry: Telemetry) -> list[float] | None:
    """Each sample's calibrated P(real), which is recorded, too; None where no scores were asked for."""
    if samples.logits is None or package.calibration is None:
        return None
    probabilities: list[float] = package.calibration.probability(samples.logits).tolist()
    histogram = telemetry.generated_probability.labels(package.key.name)
    for probability in probabilities:
        histogram.observe(probability)
    return probabilities


def columns_of(plan: GeneratePlan, place: slice, samples: Samples, telemetry: Telemetry) -> Columns:
    """What is said of some samples of a plan, by field: seed, class, codes, condition and realness, where they apply.

    Args:
        place: where `samples` stand in the plan.
    """
    codes, classes = plan.package.manifest.codes, plan.package.manifest.labels
    realness = realness_of(plan.package, samples, telemetry)
    columns: Columns = {}
    if plan.job.seeds is not None:
        columns["seed"] = plan.job.seeds[place].tolist()
    if samples.labels is not None:
        columns["label"] = labels = samples.labels.tolist()
        if classes is not None:
            columns["label_name"] = [classes.names[label] for label in labels]
    if samples.codes is not None and codes is not None:
        columns["codes"] = [name_codes(row, codes) for row in samples.codes.tolist()]
    if plan.job.conditions is not None:
        columns["condition"] = plan.job.conditions[place].tolist()
    if realness is not None:
        columns["realness"] = list(realness)
    return columns
