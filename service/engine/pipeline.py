"""The way of a job through one loaded package.

    GenerateJob ─▶ noise ─▶ generator ─▶ pixels or sample ─▶ judge ─▶ (selector) ─▶ Samples
    ScoreJob ──────────────────────────▶ given ───────────▶ judge ─▶ Samples
    EncodeJob ─────────────────────────▶ given ─────────▶ encoder ─▶ Samples

Only outputs that are wanted are fetched. Logits of generated images are of their pixels, the quantised sample, so that
they equal those of the PNG bit for bit.
"""

import time
from collections.abc import Coroutine
from dataclasses import dataclass

import numpy as np

from service.engine.finite import are_ordinary
from service.engine.given import Given
from service.engine.graphs import Role
from service.engine.job_checks import Offer, check_encode, check_generate, check_score
from service.engine.judge import Judge
from service.engine.noise import Noise
from service.engine.port import EncodeJob, GenerateJob, Job, Samples, ScoreJob, Selection, own_values
from service.engine.running import RunningGraph
from service.engine.selector import select
from service.errors import InvalidRequest, Problem


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Answers jobs with one package's graphs.

    Attributes:
        offer: what the package offers.
        sample_range: (lo, hi) of an image's values; None for other samples.
        generator: noise → sample and pixels.
        judge: its discriminator, where it has one.
        encoder: sample → latent or codes, where it has one.
    """

    offer: Offer
    sample_range: tuple[float, float] | None
    generator: RunningGraph
    judge: Judge | None
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
        seeds = check_generate(job, self.offer).astype(np.uint64, copy=False)
        ratio = self._needed_judge().density_ratio
        return await select(job, seeds, selection, ratio, lambda candidates: self._draw(candidates, deadline))

    async def _draw(self, job: GenerateJob, deadline: float | None) -> Samples:
        judge = self._needed_judge() if job.want_logits else None
        noise = Noise(job, self.offer)
        judged: Role = "sample" if self.offer.pixels_shape is None else "pixels"
        wanted: list[Role] = []
        if job.want_pixels or (job.want_logits and judged == "pixels"):
            wanted.append("pixels")
        if job.want_sample or (job.want_logits and judged == "sample"):
            wanted.append("sample")
        generated_by = deadline if judge is None else _with_time_to_judge(deadline, judge, len(noise))
        ordinary = are_ordinary([job.latents])
        outputs = await self.generator.ask(noise.write, len(noise), wanted, generated_by, ordinary=ordinary)
        logits = None
        if judge is not None:
            logits = await judge.each(Given(outputs[judged], noise.beside, self.sample_range), deadline)
        return Samples(
            pixels=outputs["pixels"].astype(np.uint8, copy=False) if job.want_pixels else None,
            sample=own_values(outputs["sample"]) if job.want_sample else None,
            logits=logits,
            labels=noise.labels,
            codes=noise.codes,
        )

    async def _score(self, job: ScoreJob, deadline: float | None) -> Samples:
        judge = self._needed_judge()
        given = Given(*check_score(job, self.offer), self.sample_range)
        if "label" in self.offer.judged_by and job.labels is None:
            classes = self.offer.label_count or 0
            return Samples(logits=await judge.under_every_class(given, classes, deadline))
        return Samples(logits=await judge.together(given, deadline), labels=job.labels)

    async def _encode(self, job: EncodeJob, deadline: float | None) -> Samples:
        if self.encoder is None:
            raise InvalidRequest(Problem(("package",), "this package has no encoder"))
        given = Given(*check_encode(job, self.offer), self.sample_range)
        outputs = await self.encoder.ask(
            given.write, len(given), list(self.encoder.outputs), deadline, ordinary=given.is_ordinary
        )
        floats = {role: values.astype(np.float32, copy=False) for role, values in outputs.items()}
        return Samples(latents=floats.get("latent"), readings=floats.get("code"), labels=job.labels)

    def _needed_judge(self) -> Judge:
        if self.judge is None:
            raise InvalidRequest(Problem(("package",), "this package has no discriminator"))
        return self.judge


def _with_time_to_judge(deadline: float | None, judge: Judge, samples: int) -> float | None:
    """When samples must be there so that they can still be judged in time; at most half of the time is kept for that.

    A generator that is done at the last moment would be answered by a discriminator that has none left.
    """
    if deadline is None:
        return None
    left_s = deadline - time.monotonic()
    return deadline - max(0.0, min(judge.graph.batcher.expected_s(samples) or 0.0, left_s / 2))
