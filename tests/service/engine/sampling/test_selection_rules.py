"""The rules by which a discriminator chooses: as their papers say, candidate by candidate, whatever the rounds."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from service.engine.interface import Selection, SelectionMethod
from service.engine.model_spec import DensityRatio, Knots, Line
from service.engine.sampling.selection_rules import BestOf, MetropolisHastings, Rejection, Rule, rule_of
from service.errors import InvalidRequest

Numbers = NDArray[np.float64]

METHODS: tuple[SelectionMethod, ...] = ("best-of", "rejection", "metropolis-hastings")
RATIO = DensityRatio(Line(slope=0.5, intercept=-0.25), highest_logit=4.0)
CEILING = 1.75

logits = st.lists(st.floats(-50, 50), min_size=1, max_size=12)
cuts = st.lists(st.integers(1, 4), min_size=12, max_size=12)


def uniforms_for(count: int) -> Numbers:
    return np.random.default_rng(5).uniform(size=count)


def choose(rule: Rule, ratios: Numbers, uniforms: Numbers, rounds: list[int]) -> list[int]:
    """Show candidates [N, K] in rounds; returns which one each sample is in the end."""
    chosen = np.full(len(ratios), -1)
    start = 0
    for size in rounds:
        samples = rule.active
        part = ratios[samples, start : start + size], uniforms[samples, start : start + size]
        if not part[0].size:
            break
        places = rule.update(samples, *part)
        moved = places >= 0
        chosen[samples[moved]] = start + places[moved]
        start += size
    return [int(each) for each in chosen]


def best_of(values: list[float], uniforms: Numbers, gamma: float) -> int:
    return max(range(len(values)), key=lambda place: values[place])


def rejection(values: list[float], uniforms: Numbers, gamma: float) -> int:
    """Azadi et al.: accepted with probability σ(F̂), ε small; if none is, the one most nearly accepted."""
    near = []
    for place, logit in enumerate(values):
        distance = min(0.5 * logit - 0.25 - CEILING, 0.0)
        hat = distance - math.log(max(-math.expm1(distance), 1e-300)) - gamma
        log_acceptance = -math.log1p(math.exp(-hat)) if hat > -500 else hat
        if math.log(uniforms[place]) < log_acceptance:
            return place
        near.append(log_acceptance - math.log(uniforms[place]))
    return max(range(len(near)), key=lambda place: near[place])


def metropolis_hastings(values: list[float], uniforms: Numbers, gamma: float) -> int:
    """Turner et al.: α(x′, x), with D/(1 − D) for the density ratio."""
    here = 0
    for place in range(1, len(values)):
        if uniforms[place] < math.exp(min(0.5 * (values[place] - values[here]), 0.0)):
            here = place
    return here


PAPERS: dict[SelectionMethod, Callable[[list[float], Numbers, float], int]] = {
    "best-of": best_of,
    "rejection": rejection,
    "metropolis-hastings": metropolis_hastings,
}


@pytest.mark.parametrize("method", METHODS)
@given(values=logits, rounds=cuts, gamma=st.floats(-5, 5))
def test_a_choice_is_the_papers_whatever_the_rounds(
    method: SelectionMethod, values: list[float], rounds: list[int], gamma: float
) -> None:
    uniforms = uniforms_for(len(values))
    rule = rule_of(Selection(method=method, candidates=len(values), gamma=gamma), RATIO, 1)
    assert choose(rule, np.array([values]), uniforms[np.newaxis], rounds) == [PAPERS[method](values, uniforms, gamma)]


@pytest.mark.parametrize("method", METHODS)
def test_samples_that_choose_together_choose_as_alone(method: SelectionMethod) -> None:
    rng = np.random.default_rng(1)
    values, uniforms = rng.normal(0, 4, (30, 12)), rng.uniform(size=(30, 12))
    selection = Selection(method=method, candidates=12)
    together = choose(rule_of(selection, RATIO, 30), values, uniforms, [3] * 4)
    alone = [
        choose(rule_of(selection, RATIO, 1), values[i : i + 1], uniforms[i : i + 1], [3] * 4)[0] for i in range(30)
    ]
    assert together == alone
    assert len(set(together)) > 5


def test_of_equal_logits_the_first_is_the_best() -> None:
    assert choose(BestOf(1), np.array([[1.0, 2.0, 2.0, 2.0]]), np.full((1, 4), 0.5), [1, 3]) == [1]


def test_a_sample_that_was_accepted_is_decided() -> None:
    rule = Rejection(3, RATIO, gamma=0.0)
    rule.update(rule.active, np.array([[9.0], [-90.0], [9.0]]), np.full((3, 1), 0.5))
    assert rule.active.tolist() == [1]


def test_at_the_ceiling_and_above_every_candidate_is_accepted_and_far_below_none() -> None:
    rule = Rejection(4, RATIO, gamma=50.0)
    rule.update(rule.active, np.array([[4.0], [1e30], [3.0], [-1e30]]), np.full((4, 1), 1 - 2.0**-53))
    assert rule.active.tolist() == [2, 3]


WEIGHTS = np.array([0.05, 0.15, 0.3, 0.5])  # of the data among what a generator draws evenly: density ratios over 4
LEVELS = np.log(WEIGHTS * 4)


@pytest.mark.parametrize(
    "rule",
    [
        lambda ratio, samples: Rejection(samples, ratio, gamma=0.0),
        lambda ratio, samples: MetropolisHastings(samples, ratio),
    ],
    ids=["rejection", "metropolis-hastings"],
)
def test_with_the_true_ratio_the_chosen_follow_the_data(rule: Callable[[DensityRatio, int], Rule]) -> None:
    samples, candidates = 20_000, 40
    rng = np.random.default_rng(3)
    drawn = rng.integers(0, 4, (samples, candidates))
    ratio = DensityRatio(Knots((0.0, 1.0, 2.0, 3.0), tuple(LEVELS.tolist())), highest_logit=3.0)
    places = choose(
        rule(ratio, samples), drawn.astype(np.float64), rng.uniform(size=drawn.shape), [8] * (candidates // 8)
    )
    shares = np.bincount(drawn[np.arange(samples), places], minlength=4) / samples
    np.testing.assert_allclose(shares, WEIGHTS, atol=4 * math.sqrt(0.25 / samples))


@pytest.mark.parametrize("method", ["rejection", "metropolis-hastings"])
def test_without_a_density_ratio_only_the_best_can_be_chosen(method: SelectionMethod) -> None:
    with pytest.raises(InvalidRequest, match="best-of"):
        rule_of(Selection(method=method, candidates=2), None, 1)
    assert isinstance(rule_of(Selection(method="best-of", candidates=2), None, 1), BestOf)
