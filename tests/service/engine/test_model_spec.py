"""A logit's log density ratio: a line, or a curve that ends flat."""

import numpy as np
import pytest

from service.engine.model_spec import DensityRatio, Knots, Line


def test_a_line_goes_on_for_ever() -> None:
    assert Line(slope=2.0, intercept=-1.0).at([-1e6, 0, 3]).tolist() == [-2e6 - 1, -1, 5]


def test_between_knots_a_curve_is_linear_and_beyond_them_constant() -> None:
    curve = Knots((0.0, 1.0, 3.0), (-2.0, 0.0, 1.0))
    assert curve.at([-9, 0, 0.5, 2, 3, np.inf]).tolist() == [-2, -2, -1, 0.5, 1, 1]


@pytest.mark.parametrize("curve", [Line(1.0, 0.5), Knots((0.0, 3.0), (0.5, 3.5))])
def test_the_ceiling_is_what_the_highest_known_logit_says(curve: Line | Knots) -> None:
    assert DensityRatio(curve, 2.0).ceiling == 2.5
