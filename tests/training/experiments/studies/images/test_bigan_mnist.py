"""BiGAN's row: what is measured of a run that is complete, here a small one on other digits."""

from pathlib import Path

import pytest

from tests.support import exported, games
from training.experiments.base import Setting
from training.experiments.studies.images.bigan_mnist import measure
from training.loop import run


def test_features_stand_beside_pixels_and_beside_an_untrained_encoder(tmp_path: Path) -> None:
    run.start(games.bigan(trainer=games.BRIEF, diagnostics=games.UNWATCHED), tmp_path / "run", exported.unheard)
    figures = measure(Setting(seed=0, folder=tmp_path, data_path=None, say=exported.unheard))
    assert set(figures) == {"neighbour_accuracy", "untrained_accuracy", "pixel_accuracy", "reconstruction_error"}
    assert figures["pixel_accuracy"] == pytest.approx(0.98, abs=0.02)
    for name in ("neighbour_accuracy", "untrained_accuracy"):
        assert 0.5 < figures[name] <= 1
    assert 0 < figures["reconstruction_error"] < 1
