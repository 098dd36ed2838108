"""The way of a job through one loaded package.

    GenerateJob ─▶ noise ─▶ generator ─▶ pixels ─▶ judge ─▶ Samples
    ScoreJob ──────────────────────────▶ pixels ─▶ judge ─▶ Samples

Only outputs that are wanted are fetched. Logits of generated images are of their pixels, the quantised sample, so that
they equal those of the PNG bit for bit.
"""

from dataclasses import dataclass

import numpy as np

from service.engine.graphs import Role
from service.engine.job_checks import Offer, check_generate, check_score
from service.engine.judge import Judge
from service.engine.noise import Noise
from service.engine.port import GenerateJob, Job, Samples, ScoreJob
from service.engine.running import RunningGraph
from service.errors import InvalidRequest, Problem


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Answers jobs with one package's graphs.

    Attributes:
        offer: what the package offers.
        generator: noise → sample and pixels.
        judge: its discriminator, where it has one.
    """

    offer: Offer
    generator: RunningGraph
    judge: Judge | None

    async def answer(self, job: Job, deadline: float | None) -> Samples:
        """Answer one job.

        Args:
            job: for this package.
            deadline: on `time.monotonic`; None never.

        Raises:
            InvalidRequest: the job does not fit the package.
            TryAgainError: as `Batcher.ask` says.
            SessionFailed: likewise.
        """
        if isinstance(job, GenerateJob):
            return await self._generate(job, deadline)
        return await self._score(job, deadline)

    async def _generate(self, job: GenerateJob, deadline: float | None) -> Samples:
        judge = self._needed_judge() if job.want_logits else None
        noise = Noise(given := check_generate(job, self.offer), job.labels, job.sampler, self.offer)
        judged: Role = "sample" if self.offer.pixels_shape is None else "pixels"
        wants: dict[Role, bool] = {"pixels": job.want_pixels, "sample": job.want_sample}
        wants[judged] |= job.want_logits
        wanted = {role for role, is_wanted in wants.items() if is_wanted}
        outputs = await self.generator.ask(noise.inputs, len(given), wanted, deadline)
        return Samples(
            pixels=outputs["pixels"].astype(np.uint8, copy=False) if job.want_pixels else None,
            sample=outputs["sample"].astype(np.float32, copy=False) if job.want_sample else None,
            logits=await judge.each(outputs[judged], noise.labels, deadline) if judge is not None else None,
            labels=noise.labels,
        )

    async def _score(self, job: ScoreJob, deadline: float | None) -> Samples:
        judge = self._needed_judge()
        judged = check_score(job, self.offer)
        return Samples(logits=await judge.together(judged, job.labels, deadline), labels=job.labels)

    def _needed_judge(self) -> Judge:
        if self.judge is None:
            raise InvalidRequest(Problem(("package",), "this package has no discriminator"))
        return self.judge
