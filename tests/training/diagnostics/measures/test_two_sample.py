"""The two-sample test: half the pairs where nothing differs, nearly all where much does, the same each time."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.data import DigitsConfig, digits
from training.data.pixels import to_floats
from training.diagnostics.measures.two_sample import auc, measure

IMAGES = to_floats(torch.from_numpy(digits.load(DigitsConfig()).train.copy()))
ORDER = torch.from_numpy(np.random.default_rng(0).permutation(len(IMAGES)))


def halves(samples: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Samples to train on, and to test with."""
    return samples[: count // 2], samples[count // 2 : count]


def test_digits_are_not_told_from_other_digits() -> None:
    found = measure(halves(IMAGES[ORDER[:700]], 700), halves(IMAGES[ORDER[700:1_400]], 700), 0)
    assert abs(found.auc - 0.5) < 4 * found.auc_error
    assert found.auc_error < 0.03
    assert found.tested == 350


@pytest.mark.parametrize("size", [8, 48])
def test_noise_is_told_from_digits_always(size: int) -> None:
    real = torch.nn.functional.interpolate(IMAGES[ORDER[:400]], size=size)
    noise = 2 * torch.rand(real.shape, generator=torch.Generator().manual_seed(0)) - 1
    found = measure(halves(real, 400), halves(noise, 400), 0)
    assert found.auc > 0.99
    assert found.accuracy > 0.98
    assert 0 < found.accuracy_error < 0.02


def test_points_are_told_apart_as_far_as_their_laws_differ() -> None:
    chance = torch.Generator().manual_seed(0)
    real, same, other = (torch.randn(1_000, 2, generator=chance) for _ in range(3))
    assert measure(halves(real, 1_000), halves(same, 1_000), 0).auc == pytest.approx(0.5, abs=0.08)
    # Two normal laws of deviation 1 whose means are 2 apart: the best of all tests has an area of Phi(2 / sqrt 2).
    shifted = measure(halves(real, 1_000), halves(other + torch.tensor([2.0, 0.0]), 1_000), 0)
    assert shifted.auc == pytest.approx(0.921, abs=0.03)


def test_the_same_samples_and_seed_give_the_same_figures_and_touch_no_global_generator() -> None:
    pair = halves(IMAGES[:200], 200), halves(-IMAGES[:200], 200)
    state = torch.get_rng_state()
    assert measure(*pair, 3) == measure(*pair, 3)
    assert torch.equal(torch.get_rng_state(), state)


def test_ties_count_half() -> None:
    area, error = auc(torch.tensor([1.0, 1.0, 2.0]), torch.tensor([1.0, 0.0]))
    assert area == pytest.approx((0.5 + 0.5 + 1 + 3) / 6)
    assert error > 0
