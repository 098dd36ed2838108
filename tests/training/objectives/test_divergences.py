"""The eleven rows: each function held against the others, against brute force, and against a closed form."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from training.objectives.fgan import LARGEST_ALPHA, Divergence, Name, divergence_named, tempered

ROWS: dict[str, Divergence] = {name: divergence_named(name) for name in get_args(Name)} | {
    "weighted_jensen_shannon, pi 0.2": divergence_named("weighted_jensen_shannon", pi=0.2),
    "alpha 0.75": divergence_named("alpha", alpha=LARGEST_ALPHA),
    "alpha 0.1": divergence_named("alpha", alpha=0.1),
}
LOGITS = torch.linspace(-9, 9, 37, dtype=torch.float64)
RATIOS = torch.logspace(-3, 3, 25, dtype=torch.float64)
P = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
Q = torch.tensor([0.6, 0.1, 0.3], dtype=torch.float64)


all_rows = pytest.mark.parametrize("row", ROWS)


def of(row: Divergence, p: Tensor, q: Tensor) -> float:
    """D_f(P || Q) of two tables."""
    return float((q * row.f(p / q)).sum())


def test_there_are_eleven() -> None:
    assert len(get_args(Name)) == 11


@all_rows
def test_the_slope_is_the_derivative_and_rises(row: str) -> None:
    ratios = RATIOS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(ROWS[row].f(ratios).sum(), ratios)
    assert torch.allclose(slope, ROWS[row].slope(RATIOS), rtol=1e-9, atol=1e-9)
    assert (ROWS[row].slope(RATIOS).diff() >= 0).all()  # f is convex


@all_rows
def test_the_threshold_is_the_slope_at_one(row: str) -> None:
    at_one = ROWS[row].slope(torch.ones(1, dtype=torch.float64)).item()
    assert ROWS[row].threshold == pytest.approx(at_one, abs=1e-15)


@all_rows
def test_equal_distributions_do_not_diverge_and_others_do(row: str) -> None:
    zero = -2 * math.log(2) if row == "gan" else 0.0  # 2 JSD - log 4
    assert of(ROWS[row], P, P) == pytest.approx(zero, abs=1e-15)
    assert of(ROWS[row], P, Q) > zero + 0.01


@all_rows
def test_the_conjugate_is_the_supremum_of_u_t_less_f(row: str) -> None:
    ratios = torch.logspace(-6, 6, 400_001, dtype=torch.float64)
    slopes = ROWS[row].slope(RATIOS)[None, :: len(RATIOS) // 5].T  # what T* answers
    supremum = (ratios * slopes - ROWS[row].f(ratios)).max(1).values
    assert torch.allclose(ROWS[row].conjugate(slopes[:, 0]), supremum, rtol=1e-8, atol=1e-6)


@all_rows
def test_the_activation_rises_inside_the_domain(row: str) -> None:
    low, high = ROWS[row].domain
    answers = ROWS[row].activation(LOGITS)
    assert (answers.diff() > 0).all()
    assert low < answers.min() < answers.max() < high


@all_rows
def test_the_composition_is_the_conjugate_after_the_activation(row: str) -> None:
    composed = ROWS[row].conjugate_of_activation(LOGITS)
    assert torch.allclose(composed, ROWS[row].conjugate(ROWS[row].activation(LOGITS)), rtol=1e-9, atol=1e-9)


@all_rows
def test_the_bound_is_reached_by_the_slope_of_the_ratio_and_by_nothing_else(row: str) -> None:
    best = ROWS[row].slope(P / Q)
    bound = float((P * best).sum() - (Q * ROWS[row].conjugate(best)).sum())
    assert bound == pytest.approx(of(ROWS[row], P, Q), rel=1e-12)
    other = ROWS[row].slope(P / Q * torch.tensor([1.2, 0.9, 1.4]))
    lower = float((P * other).sum() - (Q * ROWS[row].conjugate(other)).sum())
    assert lower < bound or row == "total_variation"  # whose slope is a sign, and two signs are the same here


@all_rows
@pytest.mark.parametrize("sign", [-1, 1])
def test_extreme_logits_have_finite_values_and_a_slope(row: str, sign: int) -> None:
    logits = torch.tensor([sign * 1e4], requires_grad=True)  # in single precision, as in training
    values = torch.cat([ROWS[row].activation(logits), ROWS[row].conjugate_of_activation(logits)])
    assert values.isfinite().all()
    (slope,) = torch.autograd.grad(values.sum(), logits)
    assert slope.isfinite().all()


def test_tempering_leaves_moderate_logits_alone_and_never_turns() -> None:
    logits = torch.linspace(-1e4, 1e4, 40_001, dtype=torch.float64)
    moderate = logits.abs() <= 10
    assert torch.equal(tempered(logits)[moderate], logits[moderate])
    assert (tempered(logits).diff() > 0).all()
    assert tempered(logits)[-1].item() == pytest.approx(10 + math.log(1 + 9990))


def test_tempering_is_smooth_at_its_limit() -> None:
    around = torch.tensor([10 - 1e-9, 10 + 1e-9, -10 + 1e-9, -10 - 1e-9], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(tempered(around).sum(), around)
    assert torch.allclose(slope, torch.ones(4, dtype=torch.float64))


def test_rows_that_are_each_others_relatives_agree() -> None:
    jensen_shannon = of(ROWS["jensen_shannon"], P, Q)
    assert of(ROWS["gan"], P, Q) == pytest.approx(jensen_shannon - math.log(4))
    assert 2 * of(ROWS["weighted_jensen_shannon"], P, Q) == pytest.approx(jensen_shannon)
    assert of(ROWS["alpha"], P, Q) == pytest.approx(2 * of(ROWS["squared_hellinger"], P, Q))
    assert of(ROWS["jeffrey"], P, Q) == pytest.approx(of(ROWS["kl"], P, Q) + of(ROWS["reverse_kl"], P, Q))
    assert of(ROWS["kl"], P, Q) == pytest.approx(of(ROWS["reverse_kl"], Q, P))
    assert of(ROWS["pearson"], P, Q) == pytest.approx(of(ROWS["neyman"], Q, P))


def test_the_alpha_divergence_tends_to_reverse_kl() -> None:
    almost = divergence_named("alpha", alpha=1e-6)
    assert of(almost, P, Q) == pytest.approx(of(ROWS["reverse_kl"], P, Q), rel=1e-5)
