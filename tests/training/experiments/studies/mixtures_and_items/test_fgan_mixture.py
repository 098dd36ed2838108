"""The univariate experiment's exact side: the paper's own table, to three digits."""

from typing import cast

import pytest

from training import config as configuration
from training import keys
from training.data.mixtures import GaussianMixtureConfig, Mixture, mixture
from training.experiments.studies.mixtures_and_items.fgan_mixture import (
    CONFIG,
    DIVERGENCES,
    PAPER,
    divergence_from,
    optimum,
)
from training.objectives.fgan import Name

# Table 3 of the paper: D_f(P || Q*), mu*, sigma*.
TABLE: dict[Name, tuple[float, float, float]] = {
    "kl": (0.2831, 1.0100, 1.8308),
    "reverse_kl": (0.2480, 1.5782, 1.6319),
    "jensen_shannon": (0.1280, 1.3070, 1.7542),
    "jeffrey": (0.5705, 1.3218, 1.7034),
    "pearson": (0.6457, 0.5737, 1.9274),
}


@pytest.fixture(scope="module")
def law() -> Mixture:
    return mixture(cast("GaussianMixtureConfig", configuration.load(keys.find(CONFIG)).data))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_optima_are_those_of_the_papers_table(name: Name, law: Mixture) -> None:
    divergence, mean, deviation = TABLE[name]
    best = optimum(law, name)
    assert best == pytest.approx((mean, deviation), abs=1e-3)
    assert divergence_from(law, name, *best) == pytest.approx(divergence, abs=4e-4)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_the_papers_learned_laws_miss_the_diagonal_at_jeffrey_alone(name: Name, law: Mixture) -> None:
    distances = {trained: divergence_from(law, name, *place) for trained, place in PAPER.items()}
    nearest = min(distances, key=lambda trained: distances[trained])
    assert nearest == ("jensen_shannon" if name == "jeffrey" else name)


def test_a_divergence_from_the_mixtures_only_mode_is_zero() -> None:
    config = GaussianMixtureConfig(weights=(1.0,), means=(1.5,), deviations=(0.7,))
    assert divergence_from(mixture(config), "kl", 1.5, 0.7) == pytest.approx(0, abs=1e-9)
