"""Laws on the line: integrals, divergences and quantiles against closed forms."""

import math

import numpy as np
import pytest
import torch

from training.verification.laws import (
    TWO_HILLS,
    density,
    even_shares,
    integral,
    jensen_shannon,
    kullback_leibler,
    log_density,
    on_the_line,
    quantile_function,
)

STANDARD = on_the_line((1.0,), (0.0,), (1.0,))
WIDE = on_the_line((1.0,), (0.5,), (2.0,))


def test_a_density_integrates_to_one() -> None:
    assert integral(density(TWO_HILLS)) == pytest.approx(1, abs=1e-12)


def test_kullback_leibler_of_two_normal_laws_has_its_closed_form() -> None:
    closed = math.log(2) + (1 + 0.5**2) / (2 * 2**2) - 1 / 2
    assert kullback_leibler(density(STANDARD), density(WIDE)) == pytest.approx(closed, abs=1e-12)


def test_jensen_shannon_is_symmetric_and_log_two_between_laws_that_do_not_meet() -> None:
    p, q = density(STANDARD), density(WIDE)
    assert jensen_shannon(p, q) == pytest.approx(jensen_shannon(q, p), abs=1e-14)
    left, right = (on_the_line((1.0,), (place,), (0.1,)) for place in (-5.0, 5.0))
    assert jensen_shannon(density(left), density(right)) == pytest.approx(math.log(2), abs=1e-12)


def test_quantiles_invert_the_distribution_function() -> None:
    shares = np.array([0.025, 0.5, 0.975])
    assert quantile_function(STANDARD)(shares)[:, 0].tolist() == pytest.approx([-1.959964, 0, 1.959964], abs=1e-5)


def test_a_mean_over_even_quantiles_is_almost_an_integral() -> None:
    points = quantile_function(TWO_HILLS)(even_shares(20_000))
    assert points.mean().item() == pytest.approx(0.4 * -1.5 + 0.6 * 1.2, abs=1e-5)


def test_the_differentiable_density_is_the_laws_own() -> None:
    places = torch.linspace(-4, 4, 33, dtype=torch.float64)[:, None]
    assert np.allclose(log_density(TWO_HILLS, places).numpy(), TWO_HILLS.log_density(places.numpy()))
