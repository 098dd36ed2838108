"""Feature matching: the distance it takes, what it ignores, and the game its critic plays."""

import pytest
import torch

from tests.training.objectives.play import batch, curved, generate, linear, players
from training.errors import ConfigError
from training.objectives import FeatureMatching, NonSaturating
from training.objectives.base import Batch, Networks

WEIGHT = torch.tensor([0.7, -1.3], dtype=torch.float64)


def test_the_loss_is_the_squared_distance_of_the_mean_features() -> None:
    nets, samples = players(linear(WEIGHT)), batch()
    real, fake = torch.tanh(samples.real.flatten(1)), torch.tanh(samples.latents)
    by_hand = sum((r - f) ** 2 for r, f in zip(real.mean(0).tolist(), fake.mean(0).tolist(), strict=True))
    assert FeatureMatching().generator_loss(nets, samples).total.item() == pytest.approx(by_hand)


def test_equal_mean_features_cost_nothing_whoever_the_samples_are() -> None:
    nets = players(linear(WEIGHT))
    mirrored = Batch(batch().real, -batch().real.flatten(1))
    assert FeatureMatching().generator_loss(nets, Batch(mirrored.real, mirrored.real.flatten(1))).total.item() == 0
    both = torch.cat([mirrored.real, -mirrored.real])
    samples = Batch(both, 3 * both.flatten(1))  # other samples, but odd features have mean 0 on both sides
    assert FeatureMatching().generator_loss(nets, samples).total.item() == pytest.approx(0, abs=1e-12)


def test_features_are_those_of_the_samples_as_the_discriminator_is_shown_them() -> None:
    plain, samples = players(linear(WEIGHT)), batch()
    augmented = Networks(generate, linear(WEIGHT), plain.features, augment=lambda shown: 2 * shown)
    doubled = Batch(2 * samples.real, 2 * samples.latents)
    loss = FeatureMatching().generator_loss(augmented, samples).total.item()
    assert loss == pytest.approx(FeatureMatching().generator_loss(plain, doubled).total.item())


def test_the_critic_plays_the_original_game() -> None:
    nets = players(curved(WEIGHT))
    matching, original = FeatureMatching(real_target=0.9, gamma_r1=1.0), NonSaturating(real_target=0.9, gamma_r1=1.0)
    assert matching.critic_loss(nets, batch()).total == original.critic_loss(nets, batch()).total


def test_a_discriminator_without_features_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="feature_matching needs a discriminator with features"):
        FeatureMatching().generator_loss(Networks(generate, linear(WEIGHT)), batch())
