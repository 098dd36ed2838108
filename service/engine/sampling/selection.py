"""Selection by the discriminator: candidates drawn in rounds, judged, and the chosen one kept.

    GenerateJob ─▶ a round: the next candidates of every sample that may still change ─▶ draw and judge
                       ▲                                                                      │
                       └─────────── the rule chooses, and what it chose is kept ◀─────────────┘

A round is a job like any other, so candidates share batches with everybody's samples. Each sample sees candidates
0 … K − 1 of its own seed, and as uniforms the first number of each candidate's own selection stream, so it is the same
sample whatever else is asked for. No more candidates than samples, or than one batch, are held at a time. A full queue
refuses the first round and is waited out by the others: work that was accepted is not thrown away half-way. The rules
are in `sampling/selection_rules.py`; how a job is drawn is the pipeline's business.

Shapes: N samples, M of them in one round, R candidates of each in that round.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import GenerateJob, Samples, Selection
from service.engine.model_spec import DensityRatio
from service.engine.sampling.philox import Domain, Seeds, uniforms
from service.engine.sampling.selection_rules import UNCHANGED, Indices, Rule, rule_of
from service.errors import QueueFull, ServiceFault

# What a round draws where few samples are left: half the default batch. More would be drawn in vain for a sample that
# accepts its first candidate; fewer would make a lone sample wait for a run a candidate.
ROUND_CANDIDATES = 32
# A full queue is asked again when it said that room may come, but neither in a tight loop nor after everybody else.
SHORTEST_WAIT_S = 0.01
LONGEST_WAIT_S = 1.0

Generate = Callable[[GenerateJob], Awaitable[Samples]]
S = TypeVar("S", bound=np.generic)


async def select(
    job: GenerateJob, seeds: Seeds, selection: Selection, ratio: DensityRatio | None, draw: Generate
) -> Samples:
    """Answer a job whose samples the discriminator chooses.

    Args:
        job: checked.
        seeds: [N], the job's.
        selection: the job's.
        ratio: of the discriminator's logits.
        draw: answers a job without a selection, with its logits.

    Returns:
        What the job wants of the samples that were chosen.

    Raises:
        InvalidRequest: the method needs a density ratio and there is none.
        TryAgainError: as `draw` does.
        SessionFailed: likewise.
    """
    choosing = _Choosing(seeds, rule_of(selection, ratio, len(seeds)))
    seen = 0
    while seen < selection.candidates and len(samples := choosing.active):
        count = min(selection.candidates - seen, max(1, ROUND_CANDIDATES // len(samples)))
        candidates = np.arange(seen, seen + count, dtype=np.uint64)
        drawn = await _drawn(_round(job, samples, candidates), draw, patient=seen > 0)
        await asyncio.to_thread(choosing.take, samples, candidates, drawn)
        seen += count
    chosen = choosing.chosen
    return chosen if job.want_logits else replace(chosen, logits=None)


async def _drawn(job: GenerateJob, draw: Generate, *, patient: bool) -> Samples:
    """Draw one round; who is patient waits for room in the queue until the job's deadline ends it."""
    while True:
        try:
            return await draw(job)
        except QueueFull as full:
            if not patient:
                raise
            wait_s = min(max(full.retry_after_s or 0, SHORTEST_WAIT_S), LONGEST_WAIT_S)
        await asyncio.sleep(wait_s)


class _Choosing:
    """The samples of one job, each as good as its candidates so far.

    Args:
        seeds: [N].
        rule: that chooses.

    Attributes:
        chosen: [N] samples, from the first round on.
    """

    def __init__(self, seeds: Seeds, rule: Rule) -> None:
        self._seeds = seeds
        self._rule = rule
        self.chosen = Samples()

    @property
    def active(self) -> Indices:
        """Samples that may still change."""
        return self._rule.active

    def take(self, samples: Indices, candidates: Seeds, drawn: Samples) -> None:
        """Let the rule see a round, and keep what it chooses.

        Args:
            samples: [M], whose candidates they are; all N in the first round.
            candidates: [R], which of each.
            drawn: [M·R], the candidates of one sample side by side.
        """
        shape = len(samples), len(candidates)
        seeds, numbers = np.repeat(self._seeds[samples], len(candidates)), np.tile(candidates, len(samples))
        random = uniforms(seeds, Domain.SELECTION, 1, numbers).reshape(shape)
        places = self._rule.update(samples, _finite(drawn).reshape(shape), random)
        moved = np.flatnonzero(places != UNCHANGED)
        self._keep(samples[moved], drawn, moved * len(candidates) + places[moved])

    def _keep(self, samples: Indices, drawn: Samples, rows: Indices) -> None:
        """Keep rows of `drawn` as the samples of these numbers."""
        columns = {field.name: getattr(drawn, field.name) for field in fields(Samples)}
        picked = {name: column[rows] for name, column in columns.items() if column is not None}
        if self.chosen.logits is None:  # the first round, in which every sample is moved
            self.chosen = Samples(**picked)
            return
        for name, column in picked.items():
            getattr(self.chosen, name)[samples] = column


def _round(job: GenerateJob, samples: Indices, candidates: Seeds) -> GenerateJob:
    """The job for some candidates [R] of some samples [M], those of one sample side by side."""

    def each(column: NDArray[S] | None) -> NDArray[S] | None:
        return None if column is None else np.repeat(column[samples], len(candidates), axis=0)

    return replace(
        job,
        seeds=each(job.seeds),
        labels=each(job.labels),
        codes=each(job.codes),
        conditions=each(job.conditions),
        candidates=np.tile(candidates, len(samples)),
        selection=None,
        want_logits=True,
    )


def _finite(drawn: Samples) -> NDArray[np.float64]:
    """The logits to choose by: one that is not a number is the lowest, so that it is chosen last."""
    if drawn.logits is None:
        raise ServiceFault("candidates were drawn without their logits")
    lowest, highest = (float(bound) for bound in (np.finfo(np.float32).min, np.finfo(np.float32).max))
    return np.nan_to_num(drawn.logits.astype(np.float64), nan=lowest, neginf=lowest, posinf=highest)
