"""DiffAugment: what each policy does to an image, and that gradients come through."""

import numpy as np
import pytest
import torch
from torch import Tensor

from training.augmentation import RandomNumbers
from training.augmentation.diffaugment import DiffAugment, DiffAugmentConfig, Policy, color, cutout, translation

COUNT = 200
IMAGES = torch.rand(COUNT, 3, 16, 8, generator=torch.Generator().manual_seed(0)) + 1  # no pixel is 0


def numbers(seed: int = 0, part: slice = slice(None), count: int = COUNT) -> RandomNumbers:
    return RandomNumbers(np.random.default_rng(seed), count, part, torch.device("cpu"))


def test_cutout_blanks_a_quarter_of_the_image_at_most_and_leaves_the_rest() -> None:
    result = cutout(IMAGES, numbers())
    blank = result == 0
    assert torch.equal(result[~blank], IMAGES[~blank])
    share = blank.float().mean((1, 2, 3))
    assert share.max() == 0.25
    assert share.min() > 0
    assert blank.any(0).all()  # everywhere


def test_translation_moves_by_up_to_an_eighth_and_fills_with_the_middle_of_the_range() -> None:
    result = translation(IMAGES, numbers())
    moves = set()
    for image, moved in zip(IMAGES, result, strict=True):
        rows, columns = moved[0].any(1).nonzero().ravel(), moved[0].any(0).nonzero().ravel()
        down = int(rows[0]) or int(rows[-1]) - 15
        right = int(columns[0]) or int(columns[-1]) - 7
        moves.add((down, right))
        expected = image.roll((down, right), (1, 2))[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert torch.equal(moved[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], expected)
    assert moves == {(down, right) for down in range(-2, 3) for right in range(-1, 2)}


def test_color_keeps_what_is_where_and_moves_brightness_by_half_at_most() -> None:
    result = color(IMAGES, numbers())
    shift = (result - IMAGES).mean((1, 2, 3))
    assert shift.abs().max() <= 0.5 + 1e-5
    assert shift.std().item() == pytest.approx(1 / 12**0.5, rel=0.1)  # uniform
    luma, before = result.mean(1).flatten(1), IMAGES.mean(1).flatten(1)
    scale = luma.std(1) / before.std(1)
    assert 0.5 <= scale.min() < 0.6
    assert 1.4 < scale.max() <= 1.5


@pytest.mark.parametrize("policy", ["color", "translation", "cutout"])
def test_gradients_come_through_twice(policy: Policy) -> None:
    images = IMAGES[:3].double().requires_grad_()

    def squared(values: Tensor) -> Tensor:
        chance = RandomNumbers(np.random.default_rng(0), 3, slice(None), torch.device("cpu"))
        return DiffAugment(DiffAugmentConfig(policies=(policy,)))(values, chance).square().sum()

    (gradient,) = torch.autograd.grad(squared(images), images, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), images)
    assert gradient.abs().sum() > 0
    assert second.abs().sum() > 0


def test_parts_of_a_batch_are_augmented_as_the_whole() -> None:
    augment = DiffAugment(DiffAugmentConfig())
    whole = augment(IMAGES, numbers())
    for part in (slice(0, 80), slice(80, COUNT)):
        assert torch.allclose(augment(IMAGES[part], numbers(part=part)), whole[part], atol=1e-6)


def test_only_the_policies_asked_for_are_applied() -> None:
    result = DiffAugment(DiffAugmentConfig(policies=("cutout",)))(IMAGES, numbers())
    assert torch.equal(result, cutout(IMAGES, numbers()))
