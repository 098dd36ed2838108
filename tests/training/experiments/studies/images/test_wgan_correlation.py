"""The WGAN row: what its estimates mean, and two short games looked at."""

import math
from pathlib import Path

import pytest

from tests.support import exported, small
from training.experiments.base import Setting
from training.experiments.studies.images.wgan_correlation import (
    FIGURE,
    GAMES,
    LOOKS,
    Curve,
    draw,
    follow,
    jensen_shannon,
)
from training.tables import Value

FEW_SAMPLES = 200  # of each measurement
LOSSES: dict[str, dict[str, Value]] = {"wgan": {"kind": "wasserstein", "clip": 0.05}, "gan": {"kind": "non_saturating"}}


@pytest.fixture(scope="module")
def curves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Curve]:
    setting = Setting(seed=0, folder=tmp_path_factory.mktemp("seed"), data_path=None, say=exported.unheard)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
        return {
            name: follow(small.config(objective=LOSSES[name]), game.estimate, setting, FEW_SAMPLES)
            for name, game in GAMES.items()
        }


def test_a_discriminator_that_tells_nothing_apart_estimates_no_divergence() -> None:
    assert jensen_shannon({"critic/adversarial": 2 * math.log(2)}) == pytest.approx(0, abs=1e-12)
    assert jensen_shannon({"critic/adversarial": 0}) == pytest.approx(math.log(2))


def test_ranks_decide_the_correlation() -> None:
    assert Curve([1, 2, 3], [9.0, 2.0, 1.9], [400.0, 30.0, 2.0]).correlation == pytest.approx(1)
    assert Curve([1, 2, 3], [1.0, 2.0, 3.0], [400.0, 30.0, 2.0]).correlation == pytest.approx(-1)


def test_a_game_is_looked_at_from_its_first_samples_to_its_last(curves: dict[str, Curve]) -> None:
    for curve in curves.values():
        assert len(curve.estimates) == len(curve.distances) == len(curve.samples) == LOOKS
        assert curve.samples[0] == 32
        assert curve.samples[-1] == 1_280
        assert min(curve.distances) > 0


def test_the_figure_has_both_games(curves: dict[str, Curve], tmp_path: Path) -> None:
    draw(curves, tmp_path / FIGURE)
    assert (tmp_path / FIGURE).read_text(encoding="utf-8").count("Fréchet distance") == len(curves)
