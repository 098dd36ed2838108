"""Drawn together or alone, every request is given the rows of its own seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from service.engine.model_spec import Array
from service.engine.sampling.batched import LabelSampling, LatentSampling, PendingSample, SamplingSpec, sample_batched
from service.engine.sampling.philox import Seeds

LATENTS = LatentSampling(5, "standard_normal")
TRUNCATED = LatentSampling(5, "standard_normal", truncation=0.5)
LABELS = LabelSampling(10)


@dataclass(frozen=True)
class Counting:
    """A spec that notes how many seeds each drawing had."""

    name: str
    drawings: list[int] = field(default_factory=list, compare=False)

    def draw(self, seeds: Seeds, candidates: Seeds | None) -> Array:
        self.drawings.append(len(seeds))
        return seeds


@dataclass
class Caller:
    """One request, and what it was given."""

    spec: SamplingSpec
    seeds: Seeds
    candidates: Seeds | None = None
    given: list[Array] = field(default_factory=list)

    @property
    def draw(self) -> PendingSample:
        return PendingSample(self.spec, self.seeds, self.candidates, lambda rows: self.given.append(rows.copy()))


def numbers(values: Sequence[int]) -> Seeds:
    return np.array(values, np.uint64)


@st.composite
def callers(draw: st.DrawFn) -> Caller:
    seeds = draw(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=4))
    specs: list[SamplingSpec] = [LATENTS, TRUNCATED, LABELS]
    spec = draw(st.sampled_from(specs))
    has_candidates = draw(st.booleans())
    return Caller(spec, numbers(seeds), numbers(range(1, len(seeds) + 1)) if has_candidates else None)


@given(asked=st.lists(callers(), max_size=6))
def test_a_row_depends_on_its_own_seed_alone(asked: list[Caller]) -> None:
    sample_batched([caller.draw for caller in asked])
    for caller in asked:
        (given_rows,) = caller.given
        alone = caller.spec.draw(caller.seeds, caller.candidates)
        assert given_rows.tobytes() == alone.tobytes()
        assert given_rows.dtype == alone.dtype


def test_equal_specs_share_one_call() -> None:
    drawings: list[int] = []
    same, equal, other = Counting("a", drawings), Counting("a", drawings), Counting("b", drawings)
    asked = [Caller(same, numbers([1, 2])), Caller(other, numbers([3])), Caller(equal, numbers([4, 5, 6]))]
    sample_batched([caller.draw for caller in asked])
    assert sorted(drawings) == [1, 5]
    assert [caller.given[0].tolist() for caller in asked] == [[1, 2], [3], [4, 5, 6]]
