"""Bounds from logits: each family's best critic reaches its divergence exactly, and no other critic exceeds it.

Two distributions over four values, in eighths, so that eight logits are an exact expectation.
"""

import math

import pytest
import torch
from torch import Tensor

from training.diagnostics.measures.divergence import equilibrium, log_odds_bound, readings
from training.objectives import Hinge, LeastSquares, Minimax, NonSaturating, Relativistic, Wasserstein
from training.objectives.base import Objective
from training.objectives.fgan import FGan

P = torch.tensor([4, 2, 1, 1], dtype=torch.float64) / 8
Q = torch.tensor([1, 1, 2, 4], dtype=torch.float64) / 8
MIDDLE = (P + Q) / 2
JSD = float((P * (P / MIDDLE).log() + Q * (Q / MIDDLE).log()).sum() / 2)
PAIRS_P, PAIRS_Q = torch.outer(P, Q), torch.outer(Q, P)
PAIRS_MIDDLE = (PAIRS_P + PAIRS_Q) / 2
PAIRS_JSD = float((PAIRS_P * (PAIRS_P / PAIRS_MIDDLE).log() + PAIRS_Q * (PAIRS_Q / PAIRS_MIDDLE).log()).sum() / 2)
LOG_RATIO = (P / Q).log()
WILD = torch.tensor([0.3, -2.0, 1.0, 0.0], dtype=torch.float64)

CASES: dict[str, tuple[Objective, str, Tensor, float]] = {
    "minimax": (Minimax(), "jsd_bound", LOG_RATIO, JSD),
    "non-saturating": (NonSaturating(), "jsd_bound", LOG_RATIO, JSD),
    "relativistic": (Relativistic(), "paired_jsd_bound", LOG_RATIO, PAIRS_JSD),
    "hinge": (Hinge(), "tv_bound", (P - Q).sign(), float((P - Q).abs().sum() / 2)),
    "least squares": (LeastSquares(), "le_cam_bound", P / (P + Q), float(((P - Q) ** 2 / (P + Q)).sum() / 2)),
    "least squares, Pearson's coding": (
        LeastSquares(coding="pearson"),
        "le_cam_bound",
        (P - Q) / (P + Q),
        float(((P - Q) ** 2 / (P + Q)).sum() / 2),
    ),
    "f-GAN": (FGan(divergence="kl"), "f_bound", 1 + LOG_RATIO, float((P * LOG_RATIO).sum())),
}


def drawn(critic: Tensor, distribution: Tensor) -> Tensor:
    """The critic's logits of eight samples that are the distribution exactly."""
    return critic.repeat_interleave((8 * distribution).long())


@pytest.mark.parametrize(("objective", "name", "best", "divergence"), CASES.values(), ids=CASES.keys())
def test_the_best_critic_reaches_the_divergence_and_another_stays_below(
    objective: Objective, name: str, best: Tensor, divergence: float
) -> None:
    reached = readings(objective, drawn(best, P), drawn(best, Q))[name]
    assert reached == pytest.approx(divergence, abs=1e-12)
    assert readings(objective, drawn(WILD, P), drawn(WILD, Q))[name] < divergence


@pytest.mark.parametrize("alpha", [1.0, 0.9, 0.5])
def test_without_a_difference_the_value_is_that_of_the_equilibrium_and_d_half_of_alpha(alpha: float) -> None:
    answer, value = equilibrium(alpha)
    logit = torch.full((8,), math.log(answer / (1 - answer)), dtype=torch.float64)
    found = log_odds_bound(logit, logit, alpha)
    assert answer == alpha / 2
    assert found["value"] == pytest.approx(value)
    assert found["jsd_bound"] == pytest.approx(0)
    assert found["d_distance"] == pytest.approx(0)


def test_without_smoothing_the_equilibrium_is_one_half_and_minus_log_four() -> None:
    assert equilibrium(1.0) == pytest.approx((0.5, -math.log(4)))


@pytest.mark.parametrize("alpha", [0.9, 0.5])
def test_under_smoothing_the_best_critic_bounds_the_divergence_and_any_other_bounds_it_worse(alpha: float) -> None:
    best = (alpha * P / (P + Q)).logit()
    reached = log_odds_bound(drawn(best, P), drawn(best, Q), alpha)["jsd_bound"]
    assert 0 < reached < JSD
    for other in (best + 0.1, best * 1.1, LOG_RATIO):
        assert log_odds_bound(drawn(other, P), drawn(other, Q), alpha)["jsd_bound"] < reached


def test_under_smoothing_disjoint_supports_reach_the_entropy_that_the_noise_leaves() -> None:
    def entropy(chance: float) -> float:
        return -chance * math.log(chance) - (1 - chance) * math.log(1 - chance)

    real, fake = torch.full((4,), math.log(0.9 / 0.1)), torch.full((4,), -200.0)
    assert log_odds_bound(real, fake, 0.9)["jsd_bound"] == pytest.approx(entropy(0.45) - entropy(0.9) / 2)
    assert log_odds_bound(torch.full((4,), 200.0), fake)["jsd_bound"] == pytest.approx(math.log(2))


def test_the_target_of_an_objective_with_smoothing_is_used() -> None:
    logit = torch.full((4,), math.log(0.45 / 0.55))
    assert readings(NonSaturating(real_target=0.9), logit, logit)["value_gap"] == pytest.approx(0, abs=1e-6)


def test_a_height_difference_is_reported_as_what_it_is() -> None:
    found = readings(Wasserstein(), torch.tensor([3.0, 5.0]), torch.tensor([1.0, 0.0]))
    assert found == {"wasserstein_estimate": 3.5, "paired_accuracy": 1.0}


@pytest.mark.parametrize("objective", [case[0] for case in CASES.values()], ids=CASES.keys())
def test_only_logits_of_a_probability_are_read_as_one(objective: Objective) -> None:
    found = readings(objective, WILD, WILD)
    assert ("d_real" in found) == isinstance(objective, Minimax | NonSaturating)


@pytest.mark.parametrize("shift", [0.0, 100.0])
def test_paired_figures_do_not_depend_on_a_constant(shift: float) -> None:
    found = readings(Relativistic(), drawn(LOG_RATIO, P) + shift, drawn(LOG_RATIO, Q) + shift)
    assert found["paired_jsd_bound"] == pytest.approx(PAIRS_JSD)


@pytest.mark.parametrize(
    ("real", "fake", "accuracy"), [([1.0, 2.0], [0.0, 0.5], 1.0), ([1.0], [1.0], 0.5), ([0.0, 2.0], [1.0], 0.5)]
)
def test_the_paired_accuracy_counts_ties_half(real: list[float], fake: list[float], accuracy: float) -> None:
    assert readings(Hinge(), torch.tensor(real), torch.tensor(fake))["paired_accuracy"] == accuracy


def test_logits_of_any_size_give_numbers() -> None:
    worst = log_odds_bound(torch.full((2,), -1e4), torch.full((2,), 1e4))
    assert math.isfinite(worst["value"])
