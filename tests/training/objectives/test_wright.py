"""The logarithm of the Wright omega function: its equation, everywhere, and its derivatives."""

import numpy as np
import torch
from scipy.special import wrightomega

from training.objectives.fgan import log_wright_omega


def test_it_is_the_logarithm_of_omega() -> None:
    values = torch.linspace(-700, 700, 10_001, dtype=torch.float64)
    assert np.allclose(log_wright_omega(values).numpy(), np.log(wrightomega(values.numpy())), rtol=1e-14, atol=1e-14)


def test_it_solves_its_equation_where_the_exponential_of_the_argument_would_overflow() -> None:
    values = torch.tensor([-1e4, -1e3, 1e3, 1e4, 1e8], dtype=torch.float64)
    root = log_wright_omega(values)
    assert torch.allclose(root.exp() + root, values, rtol=1e-14, atol=0)


def test_its_first_two_derivatives_agree_with_finite_differences() -> None:
    values = torch.tensor([-3.0, 0.0, 1.0, 2.0, 30.0], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(log_wright_omega, values)
    assert torch.autograd.gradgradcheck(log_wright_omega, values)
