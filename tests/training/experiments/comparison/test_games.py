"""The games differ in nothing but the game."""

import pytest

from training import config as configuration
from training.experiments.comparison.games import GAMES, RATES, TOTAL_SAMPLES, configured
from training.tables import Table

FREE = {"beta1", "beta2", "optimizer", "critic_steps"}  # an optimizer belongs to the game's recipe
ADDED = {"encoder", "code_head"}  # players that only one game has
FIRST = next(iter(GAMES))


def tables(name: str) -> dict[str, Table]:
    """What a game is configured to."""
    return configuration.to_tables(configured(name, rate=RATES[0], total_samples=TOTAL_SAMPLES, seed=0))


@pytest.mark.parametrize("name", GAMES)
def test_data_networks_and_budget_are_those_of_every_other_game(name: str) -> None:
    ours, common = tables(name), tables(FIRST)
    for table in ("data", "generator", "diagnostics"):
        assert ours[table] == common[table]
    for table, free in (("trainer", FREE), ("discriminator", {"spectral_norm"})):
        assert {key for key in common[table] if ours[table][key] != common[table][key]} <= free
    assert set(ours) - set(common) <= ADDED


def test_the_rate_and_the_length_are_the_runs() -> None:
    made = configured("wgan_gp", rate=0.5, total_samples=640, seed=7)
    assert (made.seed, made.trainer.total_samples, made.trainer.learning_rate_generator) == (7, 640, 0.5)
    assert made.trainer.learning_rate_discriminator == 0.5
    assert made.diagnostics.evaluate_every_samples == 80


def test_a_game_without_rolling_back_shows_that_it_diverged() -> None:
    assert configured(FIRST, rate=1e-3, total_samples=640, seed=0).diagnostics.rollback == 0
