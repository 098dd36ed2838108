"""Mixtures of Gaussians: exact laws, drawn the same for ever, and mistakes in words."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from training import data
from training.data import GaussianMixtureConfig, GridConfig, MixtureConfig, RingConfig
from training.data.mixtures import grid, load, mixture, ring
from training.errors import ConfigError

UNEVEN = GaussianMixtureConfig(weights=(0.33, 0.67), means=(-1.0, 2.0), deviations=(0.255, 1.414))
CONFIGS: tuple[MixtureConfig, ...] = (RingConfig(), GridConfig(), UNEVEN)


def test_the_ring_has_eight_even_modes_on_the_unit_circle() -> None:
    law = ring()
    assert law.weights.tolist() == [1 / 8] * 8
    assert np.allclose(np.linalg.norm(law.means, axis=1), 1)
    neighbours = np.linalg.norm(law.means - np.roll(law.means, 1, axis=0), axis=1)
    assert np.allclose(neighbours, 2 * np.sin(np.pi / 8))
    assert set(law.deviations) == {0.01}


def test_the_grid_has_twenty_five_even_modes_two_apart() -> None:
    law = grid()
    assert {tuple(mean) for mean in law.means.tolist()} == {(x, y) for x in range(-4, 5, 2) for y in range(-4, 5, 2)}
    assert law.weights.sum() == pytest.approx(1)
    assert set(law.deviations) == {0.05}


def test_a_density_on_the_line_is_the_sum_of_its_normal_ones_and_integrates_to_one() -> None:
    law = mixture(UNEVEN)
    places = np.linspace(-3, 6, 7)
    expected = 0.33 * norm.pdf(places, -1, 0.255) + 0.67 * norm.pdf(places, 2, 1.414)
    assert np.allclose(np.exp(law.log_density(places[:, np.newaxis])), expected)
    mass, _ = quad(lambda x: float(np.exp(law.log_density(np.array([[x]])))[0]), -12, 12, points=[-1, 2])
    assert mass == pytest.approx(1)


def test_a_density_far_from_every_mode_is_no_underflow() -> None:
    assert np.isfinite(ring().log_density(np.array([[0.0, 0.0]]))).all()


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_samples_have_the_means_and_deviations_of_the_law(config: MixtureConfig) -> None:
    law, samples = mixture(config), load(config).train
    nearest = np.linalg.norm(samples[:, np.newaxis] - law.means, axis=2).argmin(axis=1)
    if isinstance(config, GaussianMixtureConfig):
        assert samples.mean() == pytest.approx(0.33 * -1 + 0.67 * 2, abs=0.02)
        return
    shares = np.bincount(nearest) / len(samples)
    assert np.allclose(shares, law.weights, atol=0.005)
    assert np.allclose((samples - law.means[nearest]).std(axis=0), law.deviations[0], rtol=0.02)


def test_data_is_the_same_for_ever_and_held_out_samples_are_others() -> None:
    first, again = load(RingConfig()), data.load(RingConfig())
    assert first.sha256 == again.sha256
    assert np.array_equal(first.train, again.train)
    assert (first.train.shape, first.held_out.shape) == ((100_000, 2), (10_000, 2))
    assert first.train.dtype == first.held_out.dtype == np.float32
    assert not set(map(tuple, first.held_out.tolist())) & set(map(tuple, first.train.tolist()))


@pytest.mark.parametrize("change", [{"data_seed": 1}, {"train_samples": 99}, {"held_out_samples": 99}])
def test_other_settings_are_other_data(change: dict[str, int]) -> None:
    assert load(replace(RingConfig(), **change)).sha256 != load(RingConfig()).sha256


def test_vectors_have_a_shape_and_no_classes() -> None:
    assert load(UNEVEN).sample_shape == (1,)
    assert load(RingConfig()).sample_shape == (2,)
    assert load(RingConfig()).classes == 0


def test_lists_of_different_lengths_are_refused() -> None:
    with pytest.raises(ConfigError, match="2 weights, 2 means and 1 deviations; give one of each for every mode"):
        mixture(replace(UNEVEN, deviations=(1.0,)))


def test_weights_must_sum_to_one() -> None:
    with pytest.raises(ConfigError, match=r"weights sum to 0\.9; they must sum to 1"):
        mixture(replace(UNEVEN, weights=(0.4, 0.5)))
