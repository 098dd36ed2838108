"""The birthday estimate: a known support lies within its interval, and the data itself shows none."""

import pytest
import torch
from torch import Tensor

from training.diagnostics.measures.birthday import calibrate, estimate

DRAWN = 512


def normal(count: int, seed: int) -> Tensor:
    return torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))


def of_support(size: int, seed: int, noise: float = 0.0) -> Tensor:
    """Draws from so many values, with a little noise on each draw."""
    chosen = torch.randint(size, (DRAWN,), generator=torch.Generator().manual_seed(seed))
    return normal(size, seed + 1)[chosen] + noise * normal(DRAWN, seed + 2)


RULER = calibrate(normal(DRAWN, 0))


@pytest.mark.parametrize("size", [3, 50, 2_000])
def test_a_known_support_is_estimated(size: int) -> None:
    # Values that lie closer together than real samples do count as one, so a large support is crowded in two numbers.
    ruler = calibrate(torch.randn(DRAWN, 8, generator=torch.Generator().manual_seed(0)))
    values = torch.randn(size, 8, generator=torch.Generator().manual_seed(1))
    chosen = torch.randint(size, (DRAWN,), generator=torch.Generator().manual_seed(2))
    found = estimate(values[chosen], ruler)
    assert found.support is not None
    assert found.high is not None
    assert found.low < size < found.high
    assert found.support == pytest.approx(size, rel=0.4)


def test_near_duplicates_count_like_equal_ones() -> None:
    exact, noisy = (estimate(of_support(20, 3, noise), RULER).support for noise in (0.0, RULER.threshold / 10))
    assert noisy == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_fresh_samples_of_the_data_show_no_small_support(seed: int) -> None:
    found = estimate(normal(DRAWN, 100 + seed), RULER)
    assert (found.support, found.high) == (None, None)
    assert found.low > DRAWN


def test_a_single_point_is_a_support_of_about_one() -> None:
    found = estimate(torch.zeros(DRAWN, 2), RULER)
    assert found.support == pytest.approx(1, rel=0.01)


def test_duplicates_of_the_data_itself_are_not_held_against_the_generator() -> None:
    repeated = of_support(100, 5)
    found = estimate(of_support(100, 5), calibrate(repeated))
    assert found.support is None


def test_the_words_say_the_numbers_and_the_interval() -> None:
    poor, rich = estimate(of_support(50, 7), RULER), estimate(normal(DRAWN, 9), RULER)
    assert f"about {poor.support:,.0f} different samples (95 % interval {poor.low:,.0f} to " in poor.words()
    assert "no sign of a small support; it is above" in rich.words()


def test_only_figures_that_exist_are_readings() -> None:
    assert set(estimate(normal(DRAWN, 9), RULER).readings()) == {"birthday_pairs", "support_low"}
    assert set(estimate(of_support(5, 1), RULER).readings()) == {
        "birthday_pairs",
        "support_low",
        "support",
        "support_high",
    }
