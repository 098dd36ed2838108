"""How a package's discriminator is asked: packs, and who may share a batch.

- A packing discriminator (PacGAN) judges P samples together, side by side in the channels. A sample is repeated P
  times (`core/inputs.py` writes it so), so that its score is a function of it alone.
- A batch-coupled one (minibatch statistics) never shares a batch with another request and is never padded. `together`
  judges a group as one batch, the way it was trained; `each` judges samples one by one, so that a score follows from
  its sample and equals the score of that sample's PNG.

Shapes: N samples, K classes, P samples judged together, C channels, H height, W width.

References:
    Lin, Khetan, Fanti and Oh, PacGAN: the power of two samples in generative adversarial networks (2018), section 3.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from service.engine.batching.batcher import Batcher
from service.engine.batching.request import RowSource
from service.engine.core.inputs import GeneratorInputs, SampleInputs, SampleInputsPerClass
from service.engine.core.validation import Capabilities, check_encode, check_generate, check_score
from service.engine.finite import all_ordinary
from service.engine.interface import EncodeJob, GenerateJob, Job, Samples, ScoreJob, Selection, to_sample_dtype
from service.engine.loading.signature import Tensors
from service.engine.model_spec import Array, DensityRatio, Role
from service.engine.retry import submit
from service.engine.sampling.philox import Seeds
from service.engine.sampling.selection import Selector
from service.errors import InvalidRequest, Problem


@dataclass(frozen=True, slots=True)
class RunningGraph:
    """A graph that showed what it must, behind its batcher.

    Attributes:
        batcher: where it runs.
        inputs: its inputs by role.
        outputs: its outputs by role.
    """

    batcher: Batcher
    inputs: Tensors
    outputs: Tensors

    async def ask(
        self,
        source: RowSource,
        samples: int,
        wanted: Collection[Role],
        deadline: float | None,
        *,
        expect_finite: bool = True,
    ) -> dict[Role, Array]:
        """Have samples computed; as `Batcher.ask`, but by role.

        Args:
            source: writes the inputs of samples `start` … `stop` − 1.
            samples: how many.
            wanted: outputs to fetch.
            deadline: on `time.monotonic`; None never.
            expect_finite: as in `Batcher.ask`.
        """
        names = {role: self.outputs[role].name for role in wanted}
        results = await self.batcher.ask(source, samples, list(names.values()), deadline, expect_finite=expect_finite)
        return {role: results[name] for role, name in names.items()}


@dataclass(frozen=True, slots=True)
class Discriminator:
    """A running discriminator.

    Attributes:
        graph: it.
        batch_coupled: as in `GraphSpec`.
        density_ratio: likewise.
    """

    graph: RunningGraph
    batch_coupled: bool
    density_ratio: DensityRatio | None

    async def score_group(
        self, given: SampleInputs | SampleInputsPerClass, deadline: float | None
    ) -> NDArray[np.float32]:
        """Judge samples that belong together.

        Args:
            given: N samples; labels and conditions that the discriminator does not take are left alone.
            deadline: on `time.monotonic`; None never.

        Returns:
            Logits [N].

        Raises:
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """
        outputs = await self.graph.ask(given.write, len(given), {"logit"}, deadline, expect_finite=given.is_ordinary)
        return outputs["logit"].astype(np.float32, copy=False)

    async def score_every_class(self, given: SampleInputs, classes: int, deadline: float | None) -> NDArray[np.float32]:
        """Judge samples under each class in turn, as each class named for all of them would have them judged.

        Args:
            given: N samples, without labels.
            classes: K.
            deadline: as in `together`.

        Returns:
            Logits [N, K].

        Raises:
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """
        if not self.batch_coupled:
            logits = await self.score_group(SampleInputsPerClass(given, classes), deadline)
            return logits.reshape(len(given), classes)
        groups = [given.labelled(label) for label in range(classes)]  # a group of one class is never another's mate
        return np.stack([await self.score_group(group, deadline) for group in groups], axis=1)

    async def score_each(self, given: SampleInputs, deadline: float | None) -> NDArray[np.float32]:
        """Judge every sample for itself; as `together` otherwise."""
        if not self.batch_coupled:
            return await self.score_group(given, deadline)
        alone = [await self.score_group(given.part(slice(i, i + 1)), deadline) for i in range(len(given))]
        return np.concatenate(alone)


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Answers jobs with one package's graphs.

    Attributes:
        capabilities: what the package can do.
        sample_range: (lo, hi) of an image's values; None for other samples.
        generator: noise → sample and pixels.
        judge: its discriminator, where it has one.
        encoder: sample → latent or codes, where it has one.
    """

    capabilities: Capabilities
    sample_range: tuple[float, float] | None
    generator: RunningGraph
    judge: Discriminator | None
    encoder: RunningGraph | None

    def answer(self, job: Job, deadline: float | None) -> Coroutine[None, None, Samples]:
        """Answer one job.

        Args:
            job: for this package.
            deadline: on `time.monotonic`; None never.

        Raises:
            InvalidRequest: the job does not fit the package.
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """
        match job:
            case GenerateJob():
                return (
                    self._draw(job, deadline) if job.selection is None else self._select(job, job.selection, deadline)
                )
            case ScoreJob():
                return self._score(job, deadline)
            case EncodeJob():
                return self._encode(job, deadline)

    async def _select(self, job: GenerateJob, selection: Selection, deadline: float | None) -> Samples:
        seeds = check_generate(job, self.capabilities).astype(np.uint64, copy=False)
        ratio = self._require_discriminator().density_ratio
        return await select(job, seeds, selection, ratio, lambda candidates: self._draw(candidates, deadline))

    async def _draw(self, job: GenerateJob, deadline: float | None) -> Samples:
        judge = self._require_discriminator() if job.want_logits else None
        noise = GeneratorInputs(job, self.capabilities)
        judged: Role = "sample" if self.capabilities.pixels_shape is None else "pixels"
        wanted: list[Role] = []
        if job.want_pixels or (job.want_logits and judged == "pixels"):
            wanted.append("pixels")
        if job.want_sample or (job.want_logits and judged == "sample"):
            wanted.append("sample")
        generated_by = deadline if judge is None else _with_time_to_judge(deadline, judge, len(noise))
        expect_finite = all_ordinary([job.latents])
        outputs = await self.generator.ask(noise.write, len(noise), wanted, generated_by, expect_finite=expect_finite)
        logits = None
        if judge is not None:
            logits = await judge.score_each(
                SampleInputs(outputs[judged], noise.conditioning, self.sample_range), deadline
            )
        return Samples(
            pixels=outputs["pixels"].astype(np.uint8, copy=False) if job.want_pixels else None,
            sample=to_sample_dtype(outputs["sample"]) if job.want_sample else None,
            logits=logits,
            labels=noise.labels,
            codes=noise.codes,
        )

    async def _score(self, job: ScoreJob, deadline: float | None) -> Samples:
        judge = self._require_discriminator()
        given = SampleInputs(*check_score(job, self.capabilities), self.sample_range)
        if "label" in self.capabilities.discriminator_conditioning and job.labels is None:
            classes = self.capabilities.label_count or 0
            return Samples(logits=await judge.score_every_class(given, classes, deadline))
        return Samples(logits=await judge.score_group(given, deadline), labels=job.labels)

    async def _encode(self, job: EncodeJob, deadline: float | None) -> Samples:
        if self.encoder is None:
            raise InvalidRequest(Problem(("package",), "this package has no encoder"))
        given = SampleInputs(*check_encode(job, self.capabilities), self.sample_range)
        outputs = await self.encoder.ask(
            given.write, len(given), list(self.encoder.outputs), deadline, expect_finite=given.is_ordinary
        )
        floats = {role: values.astype(np.float32, copy=False) for role, values in outputs.items()}
        return Samples(latents=floats.get("latent"), readings=floats.get("code"), labels=job.labels)

    def _require_discriminator(self) -> Discriminator:
        if self.judge is None:
            raise InvalidRequest(Problem(("package",), "this package has no discriminator"))
        return self.judge


def _with_time_to_judge(deadline: float | None, judge: Discriminator, samples: int) -> float | None:
    """When samples must be there so that they can still be judged in time; at most half of the time is kept for that.

    A generator that is done at the last moment would be answered by a discriminator that has none left.
    """
    if deadline is None:
        return None
    left_s = deadline - time.monotonic()
    return deadline - max(0.0, min(judge.graph.batcher.expected_s(samples) or 0.0, left_s / 2))


async def select(
    job: GenerateJob,
    seeds: Seeds,
    selection: Selection,
    ratio: DensityRatio | None,
    draw: Callable[[GenerateJob], Awaitable[Samples]],
) -> Samples:
    """Answer a job whose samples the discriminator selects; a full queue refuses its first round only.

    Args:
        job: checked.
        seeds: [N], of the job.
        selection: of the job.
        ratio: of the discriminator's logits.
        draw: answers a job without a selection, with its logits.

    Raises:
        InvalidRequest: the method needs a density ratio and there is none.
        TryAgainError: as `draw` does.
        SessionFailed: as `draw` does.
    """
    selector = Selector(job, seeds, selection, ratio)
    while (candidates := selector.next_round()) is not None:
        drawn = await submit(partial(draw, candidates), retry=selector.drawn > 0)
        await asyncio.to_thread(selector.update, drawn)
    return selector.selected
