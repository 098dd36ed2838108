"""Answers the jobs of one package: which of its graphs run for a job, on which inputs, in which order.

Shapes: N samples, K classes, P samples judged together.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.engine.batching.batcher import Batcher
from service.engine.core.infer import TensorInputs
from service.engine.core.inputs import GeneratorInputs, Inputs, SampleInputs, SampleInputsPerClass
from service.engine.core.validation import check_encode, check_generate, check_score
from service.engine.interface import (
    EncodeJob,
    GenerateJob,
    InferJob,
    Job,
    Samples,
    ScoreJob,
    Selection,
    to_sample_dtype,
)
from service.engine.loading.signature import Tensors
from service.engine.model_spec import Array, Capabilities, DensityRatio, GraphKind, Outputs, Role
from service.engine.retry import submit
from service.engine.sampling.philox import Seeds
from service.engine.sampling.selection import Selector
from service.errors import InvalidRequest, NotFound, Problem


@dataclass(frozen=True, slots=True)
class RunningGraph:
    """A verified graph and the batcher that runs it.

    Attributes:
        inputs: by role.
        outputs: by role.
    """

    batcher: Batcher
    inputs: Tensors
    outputs: Tensors

    async def run(self, inputs: Inputs, wanted: Collection[Role], deadline: float | None) -> dict[Role, Array]:
        """As `Batcher.ask`, but with outputs by role."""
        names = {role: self.outputs[role].name for role in wanted}
        results = await self.batcher.ask(
            inputs.write, len(inputs), list(names.values()), deadline, expect_finite=inputs.expect_finite
        )
        return {role: results[name] for role, name in names.items()}


@dataclass(frozen=True, slots=True)
class Discriminator:
    """A running discriminator: which samples may be scored in one batch.

    A packing discriminator (PacGAN) judges P samples together, side by side in the channels; a sample is repeated P
    times (`SampleInputs.write`), so that its score is a function of it alone. A batch-coupled one (minibatch
    statistics) never shares a batch with another request and is never padded.

    Attributes:
        batch_coupled: as in `GraphSpec`.
        density_ratio: as in `GraphSpec`.

    References:
        Lin, Khetan, Fanti and Oh, PacGAN: the power of two samples in generative adversarial networks (2018),
        section 3.
    """

    graph: RunningGraph
    batch_coupled: bool
    density_ratio: DensityRatio | None

    async def score_group(self, inputs: Inputs, deadline: float | None) -> NDArray[np.float32]:
        """Logits [N] of samples that belong together: a batch-coupled discriminator judges them as one batch.

        Raises:
            TryAgainError: as `Batcher.ask`.
            SessionFailed: as `Batcher.ask`.
            NotFinite: as `Batcher.ask`.
        """
        outputs = await self.graph.run(inputs, {"logit"}, deadline)
        return outputs["logit"].astype(np.float32, copy=False)

    async def score_each(self, samples: SampleInputs, deadline: float | None) -> NDArray[np.float32]:
        """Logits [N] of samples each on its own, so that a score is that of the sample's PNG; as `score_group`."""
        if not self.batch_coupled:
            return await self.score_group(samples, deadline)
        singles = [samples.subset(slice(i, i + 1)) for i in range(len(samples))]
        return np.concatenate([await self.score_group(single, deadline) for single in singles])

    async def score_every_class(
        self, samples: SampleInputs, classes: int, deadline: float | None
    ) -> NDArray[np.float32]:
        """Logits [N, K] of a group under each class in turn; as `score_group`."""
        if not self.batch_coupled:
            logits = await self.score_group(SampleInputsPerClass(samples, classes), deadline)
            return logits.reshape(len(samples), classes)
        groups = [samples.with_label(label) for label in range(classes)]
        return np.stack([await self.score_group(group, deadline) for group in groups], axis=1)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The graphs of one package, and the jobs that they answer.

    Attributes:
        sample_range: (lo, hi) of an image's values; None for other samples.
        graphs: those that the package has; the generator always.
    """

    capabilities: Capabilities
    sample_range: tuple[float, float] | None
    graphs: Mapping[GraphKind, RunningGraph]
    discriminator: Discriminator | None

    def submit(self, job: Job, deadline: float | None) -> Coroutine[None, None, Samples]:
        """As `Engine.submit`; the deadline is on `time.monotonic`."""
        match job:
            case GenerateJob():
                if job.selection is None:
                    return self._generate(job, deadline)
                return self._select(job, job.selection, deadline)
            case ScoreJob():
                return self._score(job, deadline)
            case EncodeJob():
                return self._encode(job, deadline)

    async def infer(self, job: InferJob, deadline: float | None) -> Outputs:
        """As `Engine.infer`; the deadline is on `time.monotonic`."""
        graph = self.graphs.get(job.graph)
        if graph is None:
            raise NotFound(f"{job.package} has no {job.graph}")
        inputs = TensorInputs(job, graph.inputs, graph.outputs, self.capabilities)
        return await graph.batcher.ask(
            inputs.write, len(inputs), list(job.outputs), deadline, expect_finite=inputs.expect_finite
        )

    async def _generate(self, job: GenerateJob, deadline: float | None) -> Samples:
        discriminator = self._require_discriminator() if job.want_logits else None
        inputs = GeneratorInputs(job, self.capabilities)
        scored: Role = "sample" if self.capabilities.pixels_shape is None else "pixels"
        wanted: list[Role] = []
        if job.want_pixels or (job.want_logits and scored == "pixels"):
            wanted.append("pixels")
        if job.want_sample or (job.want_logits and scored == "sample"):
            wanted.append("sample")
        until = deadline if discriminator is None else _with_time_to_score(deadline, discriminator, len(inputs))
        outputs = await self.graphs["generator"].run(inputs, wanted, until)
        logits = None
        if discriminator is not None:
            samples = SampleInputs(outputs[scored], inputs.conditioning, self.sample_range)
            logits = await submit(partial(discriminator.score_each, samples, deadline), retry=True)
        return Samples(
            pixels=outputs["pixels"].astype(np.uint8, copy=False) if job.want_pixels else None,
            sample=to_sample_dtype(outputs["sample"]) if job.want_sample else None,
            logits=logits,
            labels=inputs.labels,
            codes=inputs.codes,
        )

    async def _select(self, job: GenerateJob, selection: Selection, deadline: float | None) -> Samples:
        seeds = check_generate(job, self.capabilities).astype(np.uint64, copy=False)
        ratio = self._require_discriminator().density_ratio

        def generate(candidates: GenerateJob) -> Coroutine[None, None, Samples]:
            candidates.checked_for = self.capabilities  # its rows are those of a job that was checked
            return self._generate(candidates, deadline)

        return await select(job, seeds, selection, ratio, generate)

    async def _score(self, job: ScoreJob, deadline: float | None) -> Samples:
        discriminator = self._require_discriminator()
        samples = SampleInputs(*check_score(job, self.capabilities), self.sample_range)
        if "label" in self.capabilities.discriminator_conditioning and job.labels is None:
            classes = self.capabilities.label_count or 0
            return Samples(logits=await discriminator.score_every_class(samples, classes, deadline))
        return Samples(logits=await discriminator.score_group(samples, deadline), labels=job.labels)

    async def _encode(self, job: EncodeJob, deadline: float | None) -> Samples:
        encoder = self.graphs.get("encoder")
        if encoder is None:
            raise InvalidRequest(Problem(("package",), "this package has no encoder"))
        samples = SampleInputs(*check_encode(job, self.capabilities), self.sample_range)
        outputs = await encoder.run(samples, encoder.outputs.keys(), deadline)
        floats = {role: values.astype(np.float32, copy=False) for role, values in outputs.items()}
        return Samples(latents=floats.get("latent"), readings=floats.get("code"), labels=job.labels)

    def _require_discriminator(self) -> Discriminator:
        if self.discriminator is None:
            raise InvalidRequest(Problem(("package",), "this package has no discriminator"))
        return self.discriminator


def _with_time_to_score(deadline: float | None, discriminator: Discriminator, samples: int) -> float | None:
    """The generator's deadline: earlier by the time that scoring takes, but by no more than half of the time left.

    A generator that finished at the last moment would leave the discriminator no time.
    """
    if deadline is None:
        return None
    left_s = deadline - time.monotonic()
    return deadline - max(0.0, min(discriminator.graph.batcher.expected_s(samples) or 0.0, left_s / 2))


async def select(
    job: GenerateJob,
    seeds: Seeds,
    selection: Selection,
    ratio: DensityRatio | None,
    generate: Callable[[GenerateJob], Awaitable[Samples]],
) -> Samples:
    """Generate candidates in rounds, and keep those that the discriminator selects.

    A full queue refuses the first round only: accepted work is not given up half-way.

    Args:
        job: checked.
        seeds: [N], of the job.
        selection: of the job.
        ratio: of the discriminator's logits.
        generate: answers a job without a selection, with its logits.

    Raises:
        InvalidRequest: the method needs a density ratio and there is none.
        TryAgainError: as `generate`.
        SessionFailed: as `generate`.
    """
    selector = Selector(job, seeds, selection, ratio)
    while (candidates := selector.next_round()) is not None:
        generated = await submit(partial(generate, candidates), retry=selector.drawn > 0)
        await asyncio.to_thread(selector.update, generated)
    return selector.selected
