"""Advice: it fits the configuration, names what is not set yet, and makes a valid configuration when taken."""

from typing import get_args

import pytest

from tests.support import small
from training import config as configuration
from training import keys
from training.config import Config
from training.diagnostics.advice import REMEDIES, Name, advice_for
from training.tables import Value

CONFIGS = {path.stem: configuration.load(path) for path in sorted(keys.SHIPPED.glob("*.toml"))}
NAMES: tuple[Name, ...] = get_args(Name)


def taken(config: Config, section: str, keys: dict[str, Value]) -> Config:
    """The configuration with a piece of advice set; another kind brings a table of its own."""
    tables = {name: dict(table) for name, table in configuration.to_tables(config).items()}
    old = tables.get(section, {})
    tables[section] = keys if keys.get("kind", old.get("kind")) != old.get("kind") else {**old, **keys}
    header = tables.pop("")
    return configuration.from_tables({**header, **tables})


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_advice_that_is_taken_makes_another_valid_configuration(config: Config) -> None:
    for name in REMEDIES:
        for advice in advice_for(name, config):
            if advice.keys:
                changed = taken(config, advice.section, dict(advice.keys))
                assert configuration.sha256(changed) != configuration.sha256(config), str(advice)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_what_is_advised_is_never_what_is_set_already(config: Config) -> None:
    tables = configuration.to_tables(config)
    for name in NAMES:
        for advice in advice_for(name, config):
            table = tables.get(advice.section, {})
            if "kind" in advice.keys:  # another game or augmentation, whose other keys may happen to be the same
                assert advice.keys["kind"] != table.get("kind"), str(advice)
            else:
                assert all(table[key] != value for key, value in advice.keys.items()), str(advice)


def texts(name: Name, **changes: dict[str, Value]) -> str:
    """Everything that is advised against a finding in the small run with some keys changed."""
    return "\n".join(map(str, advice_for(name, small.config(**changes))))


def test_a_penalty_that_is_set_is_raised_and_one_that_is_not_is_added() -> None:
    assert "gamma_r1 = 5.0, gamma_r2 = 5.0 (now 0.5, 0.5)" in texts("outplayed")
    assert "gamma_r1 = 0.5, gamma_r2 = 0.5 (now 0.0, 0.0)" in texts("outplayed", objective={"kind": "hinge"})


def test_a_game_that_is_played_is_not_advised() -> None:
    assert "relativistic" in texts("collapse", objective={"kind": "hinge"})
    assert "relativistic" not in texts("collapse")


def test_a_pack_is_advised_only_where_it_may_be_had() -> None:
    assert "pack = 2" in texts("missing")
    assert "pack" not in texts("missing", generator={"conditional": True})
    assert "pack = 4" in texts("missing", discriminator={"pack": 2})


def test_augmentation_that_is_on_is_not_advised() -> None:
    assert "[augmentation] kind" in texts("overfitting")
    assert "[augmentation]" not in texts("overfitting", augmentation={"kind": "ada"})


def test_rates_far_beyond_the_usual_are_the_first_thing_to_change() -> None:
    first, *_ = advice_for("collapse", small.config(trainer={"learning_rate_generator": 3e-2}))
    assert first.keys == {"learning_rate_generator": pytest.approx(3e-4)}


def test_one_critic_step_is_advised_only_to_who_takes_more() -> None:
    assert "critic_steps = 1 (now 5)" in texts("outplayed", trainer={"critic_steps": 5})
    assert "critic_steps" not in texts("outplayed")
