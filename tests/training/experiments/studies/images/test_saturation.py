"""The saturation row: what its figures mean, and one discriminator that wins a little."""

import copy
from pathlib import Path

import pytest

from tests.training.experiments.coins import unheard
from training import data as sources
from training.experiments.base import Metrics, Setting
from training.experiments.studies.images.saturation import FIGURE, LOOK_EVERY_STEPS, LOSSES, fall, follow, measure
from training.state.checkpoint import load_run

STEPS = 5 * LOOK_EVERY_STEPS


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seed")


@pytest.fixture(scope="module")
def figures(folder: Path) -> Metrics:
    return measure(Setting(seed=0, folder=folder, data_path=None, say=unheard), epochs=(1, 2), steps=STEPS)


def test_a_fall_is_in_orders_of_magnitude_and_a_rise_is_below_zero() -> None:
    assert fall([5e2, 7.0, 5e-1, 5e-1, 5e-1]) == pytest.approx(3)
    assert fall([1e-1, 5.0, 1e1, 1e1, 1e1]) == pytest.approx(-2)


def test_a_single_look_at_the_end_decides_nothing() -> None:
    assert fall([1, 1, 1e-2, 1e-2, 1e-9]) == pytest.approx(2)


def test_the_minimax_gradient_falls_against_a_discriminator_that_wins_and_the_other_grows(figures: Metrics) -> None:
    assert figures["minimax_last_1_epochs"] < figures["minimax_first_1_epochs"]
    assert figures["non_saturating_last_1_epochs"] > figures["non_saturating_first_1_epochs"]


def test_the_row_is_of_the_least_favourable_generator(figures: Metrics) -> None:
    falls = {loss: [figures[f"{loss}_fall_{epochs}_epochs"] for epochs in (1, 2)] for loss in LOSSES}
    assert figures["minimax_fall"] == min(falls["minimax"])
    assert figures["non_saturating_fall"] == max(falls["non_saturating"])


def test_the_figure_is_drawn_into_the_seeds_folder(figures: Metrics, folder: Path) -> None:
    assert figures
    assert "<svg" in (folder / FIGURE).read_text(encoding="utf-8")


@pytest.mark.usefixtures("figures")
def test_the_generator_stays_as_it_is_and_the_same_seed_gives_the_same_norms(folder: Path) -> None:
    run = load_run(folder / "epochs-1")
    before = copy.deepcopy(run.generator.state_dict())
    norms = follow(run, sources.load(run.config.data), LOOK_EVERY_STEPS)
    assert norms == follow(run, sources.load(run.config.data), LOOK_EVERY_STEPS)
    assert all(value.equal(before[name]) for name, value in run.generator.state_dict().items())
