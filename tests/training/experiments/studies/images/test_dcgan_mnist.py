"""DCGAN's row: what is measured of a run that is complete, here a small one on other digits."""

import shutil
from pathlib import Path

import pytest

from tests.support import exported
from training.experiments.base import Setting
from training.experiments.studies.images.dcgan_mnist import EXPERIMENT


def test_digits_and_distances_are_measured_through_the_exported_graph(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = exported.package(tmp_path_factory).parents[2] / "run"
    shutil.copytree(run, tmp_path / "run")
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.cache(tmp_path_factory)))
    figures = EXPERIMENT.run(Setting(seed=0, folder=tmp_path, data_path=None, say=exported.unheard))
    assert {target.metric for target in EXPERIMENT.targets} | set(EXPERIMENT.shown) <= figures.keys()
    assert "label_accuracy" not in figures  # nothing was asked for
    assert 1 <= figures["modes"] <= 10
    assert figures["frechet_floor"] < figures["frechet_distance"]  # a run of eighty steps
