"""ADA: nothing at p = 0, everything at p = 1, and a probability that follows the sign of the overfitting."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from training.augmentation import RandomNumbers
from training.augmentation.adaptive import Adaptive, AdaptiveConfig, colour, geometry

COUNT = 256


def images(channels: int = 3) -> Tensor:
    return torch.rand(COUNT, channels, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1


def numbers() -> RandomNumbers:
    return RandomNumbers(np.random.default_rng(0), COUNT, slice(None), torch.device("cpu"))


def at(probability: float) -> Adaptive:
    adaptive = Adaptive(AdaptiveConfig())
    adaptive.restore({"probability": probability, "signs": 0.0, "steps": 0})
    return adaptive


@pytest.mark.parametrize("channels", [1, 3])
def test_at_probability_zero_nothing_changes(channels: int) -> None:
    assert torch.allclose(at(0.0)(images(channels), numbers()), images(channels), atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_at_a_small_probability_most_images_stay_as_they_are(channels: int) -> None:
    changed = ((at(0.02)(images(channels), numbers()) - images(channels)).abs() > 1e-4).flatten(1).any(1)
    # Thirteen coins of 2 % (two of the rotation's half as often), of which four can fall and change nothing.
    assert 0.1 < changed.float().mean() < 0.3


def test_at_probability_one_maps_turn_stretch_and_move() -> None:
    maps = geometry(1.0, numbers(), torch.Size((8, 8)))
    determinant = torch.linalg.det(maps[:, :, :2])
    assert (determinant < 0).float().mean().item() == pytest.approx(0.5, abs=0.1)  # mirrored
    assert determinant.abs().log2().std().item() == pytest.approx(2 * 0.2, rel=0.15)  # area: twice the scale's
    angles = torch.atan2(maps[:, 1, 0], maps[:, 0, 0])
    assert torch.histc(angles, 4, -math.pi, math.pi).min() > COUNT / 8  # every direction
    # Whole moves are uniform within an eighth, fractional ones normal of an eighth; a side is two half sides.
    assert maps[:, :, 2].std().item() == pytest.approx(2 / 8 * math.sqrt(1 + 1 / 3), rel=0.15)


def test_no_quarter_turn_squeezes_an_oblong_image() -> None:
    always = geometry(1.0, numbers(), torch.Size((8, 8)))
    oblong = geometry(1.0, numbers(), torch.Size((8, 4)))
    assert not torch.allclose(always[:, :, :2], oblong[:, :, :2])


def test_the_hue_turns_about_the_grey_axis() -> None:
    grey = torch.full((COUNT, 3, 2, 2), 0.3)
    changed = colour(grey, 1.0, numbers())
    assert torch.allclose(changed, changed.mean(1, keepdim=True).expand_as(changed), atol=1e-6)


def test_the_probability_rises_while_the_discriminator_overfits_and_falls_again() -> None:
    adaptive = Adaptive(AdaptiveConfig(target=0.6, adjustment_samples=1_000))
    for _ in range(3):
        adaptive.observe(torch.tensor(0.9), 50)
    assert adaptive.probability == 0  # every fourth step
    adaptive.observe(torch.tensor(0.9), 50)
    assert adaptive.probability == pytest.approx(200 / 1_000)
    for _ in range(4):
        adaptive.observe(torch.tensor(0.1), 50)
    assert adaptive.probability == 0
    for _ in range(4):
        adaptive.observe(torch.tensor(0.1), 50)
    assert adaptive.probability == 0  # never below
    for _ in range(4 * 10):
        adaptive.observe(torch.tensor(1.0), 50)
    assert adaptive.probability == 1  # never above


def test_a_restored_probability_goes_on_as_if_never_stopped() -> None:
    whole, first, second = (Adaptive(AdaptiveConfig(adjustment_samples=1_000)) for _ in range(3))
    for _ in range(2):
        first.observe(torch.tensor(1.0), 50)
    second.restore(first.state())
    for _ in range(2):
        second.observe(torch.tensor(1.0), 50)
    for _ in range(4):
        whole.observe(torch.tensor(1.0), 50)
    assert second.state() == whole.state()


def test_gradients_come_through_twice() -> None:
    values = images().requires_grad_()
    (gradient,) = torch.autograd.grad(at(0.8)(values, numbers()).square().sum(), values, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), values)
    assert second.abs().sum() > 0
