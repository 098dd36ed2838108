"""Selection by the discriminator: which candidates to draw next, and which of them to keep.

    GenerateJob ─▶ next_round: the next candidates of every sample that may still change ─▶ drawn and scored
                        ▲                                                                         │
                        └────────── update: the rule selects, and its choice is kept ◀────────────┘

A round is a job without a selection, so candidates share batches with other requests. Each sample sees candidates
0 … K − 1 of its own seed, each with the first number of its own selection stream, so a sample depends on its seed
alone, whatever else is asked for. At most as many candidates as there are samples, or `ROUND_CANDIDATES`, are held at
a time.

Shapes: N samples, M of them in one round, R candidates of each in that round.
"""

from dataclasses import fields, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import GenerateJob, Samples, Selection
from service.engine.model_spec import DensityRatio
from service.engine.sampling.philox import Domain, Seeds, uniforms
from service.engine.sampling.selection_rules import UNCHANGED, Indices, rule_of
from service.errors import ServiceFault

# Candidates of a round where few samples are left: half the default batch. With more, a sample that accepts its first
# candidate would waste most of them; with fewer, a lone sample would take a run per candidate.
ROUND_CANDIDATES = 32
_LOWEST, _HIGHEST = (float(bound) for bound in (np.finfo(np.float32).min, np.finfo(np.float32).max))

S = TypeVar("S", bound=np.generic)


class Selector:
    """A selection in progress.

    Args:
        job: checked.
        seeds: [N], of the job.
        selection: of the job.
        ratio: of the discriminator's logits.

    Attributes:
        drawn: candidates that every sample has seen, unless it was settled before.

    Raises:
        InvalidRequest: the method needs a density ratio and there is none.
    """

    def __init__(self, job: GenerateJob, seeds: Seeds, selection: Selection, ratio: DensityRatio | None) -> None:
        self._job = job
        self._seeds = seeds
        self._candidates = selection.candidates
        self._rule = rule_of(selection, ratio, len(seeds))
        self._samples: Indices = np.arange(len(seeds))
        self._numbers = np.empty(0, np.uint64)
        self._selected = Samples()
        self.drawn = 0

    def next_round(self) -> GenerateJob | None:
        """The job of the next candidates, those of one sample side by side; None where nothing can change any more."""
        self._samples = self._rule.active
        if self.drawn == self._candidates or not len(self._samples):
            return None
        count = min(self._candidates - self.drawn, max(1, ROUND_CANDIDATES // len(self._samples)))
        self._numbers = np.arange(self.drawn, self.drawn + count, dtype=np.uint64)
        return replace(
            self._job,
            seeds=self._repeated(self._job.seeds),
            labels=self._repeated(self._job.labels),
            codes=self._repeated(self._job.codes),
            conditions=self._repeated(self._job.conditions),
            candidates=np.tile(self._numbers, len(self._samples)),
            selection=None,
            want_logits=True,
        )

    def update(self, drawn: Samples) -> None:
        """Select among the candidates [M·R] of the last round."""
        count = len(self._numbers)
        self.drawn += count
        shape = len(self._samples), count
        seeds, numbers = np.repeat(self._seeds[self._samples], count), np.tile(self._numbers, len(self._samples))
        random = uniforms(seeds, Domain.SELECTION, 1, numbers).reshape(shape)
        places = self._rule.update(self._samples, _finite_logits(drawn).reshape(shape), random)
        moved = np.flatnonzero(places != UNCHANGED)
        self._keep(self._samples[moved], drawn, moved * count + places[moved])

    @property
    def selected(self) -> Samples:
        """[N], what the job asks for of the samples that are selected now; to be read when there is no next round."""
        return self._selected if self._job.want_logits else replace(self._selected, logits=None)

    def _keep(self, samples: Indices, drawn: Samples, rows: Indices) -> None:
        """Copy `rows` of `drawn` to the selected `samples`."""
        columns = {field.name: getattr(drawn, field.name) for field in fields(Samples)}
        picked = {name: column[rows] for name, column in columns.items() if column is not None}
        if self._selected.logits is None:  # the first round, in which every sample is moved
            self._selected = Samples(**picked)
            return
        for name, column in picked.items():
            getattr(self._selected, name)[samples] = column

    def _repeated(self, column: NDArray[S] | None) -> NDArray[S] | None:
        """[M·R], the values of the round's samples, each once per candidate."""
        return None if column is None else np.repeat(column[self._samples], len(self._numbers), axis=0)


def _finite_logits(drawn: Samples) -> NDArray[np.float64]:
    """The logits to select by; NaN counts as the lowest, so that it is selected last."""
    if drawn.logits is None:
        raise ServiceFault("candidates were drawn without their logits")
    return np.nan_to_num(drawn.logits.astype(np.float64), nan=_LOWEST, neginf=_LOWEST, posinf=_HIGHEST)
