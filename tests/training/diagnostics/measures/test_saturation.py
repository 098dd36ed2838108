"""Saturation: sure answers are counted, and both gradients are those of calculus."""

import pytest
import torch
from torch import nn

from training.diagnostics.measures.saturation import gradient_norm, gradient_norms, sure_share


def test_answers_beyond_ninety_nine_percent_either_way_are_sure() -> None:
    assert sure_share(torch.tensor([-9.0, -4.0, 0.0, 4.5, 4.7])) == pytest.approx(2 / 5)


@pytest.mark.parametrize("logit", [-10.0, 0.0, 3.0])
def test_at_one_logit_the_norms_are_the_slopes_d_and_one_minus_d(logit: float) -> None:
    weight = nn.Parameter(torch.tensor([logit], dtype=torch.float64))
    minimax, non_saturating = gradient_norms(weight, [weight])
    answer = torch.tensor(logit, dtype=torch.float64).sigmoid()
    assert minimax == pytest.approx(float(answer))
    assert non_saturating == pytest.approx(float(1 - answer))


def test_a_sure_critic_leaves_the_minimax_loss_without_a_gradient_and_the_other_with_one() -> None:
    weight = nn.Parameter(torch.ones(3))
    minimax, non_saturating = gradient_norms(weight * torch.ones(5, 3) - 20, [weight])
    assert minimax < 1e-7
    assert non_saturating == pytest.approx(3**-0.5 * 1, rel=1e-6)


def test_a_norm_is_over_all_parameters_and_leaves_their_gradients_alone() -> None:
    used, other, unused = (nn.Parameter(torch.tensor(1.0)) for _ in range(3))
    assert gradient_norm(3 * used + 4 * other, [used, other, unused]) == pytest.approx(5.0)
    assert used.grad is None
