"""One game of the comparison, played on the bundled digits."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import DivergenceError
from training.experiments import runner
from training.experiments.base import Setting
from training.experiments.comparison import games, page, play
from training.experiments.results import Row


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits that are at hand, and runs of seconds."""
    monkeypatch.setitem(games.COMMON, "data", {"kind": "digits"})
    monkeypatch.setattr(play, "TOTAL_SAMPLES", 640)


def setting(folder: Path) -> Setting:
    """Seed 0's."""
    return Setting(seed=0, folder=folder / "game" / "seed-0", data_path=None, say=lambda _line: None)


def test_a_game_is_tuned_trained_and_measured(tmp_path: Path) -> None:
    row = runner.reproduce(play.experiment("non_saturating"), [0], tmp_path, None, lambda _line: None)
    figures = row.seeds[0].metrics
    play.write_tuning(tmp_path)
    tried = play.read_tuning(tmp_path)
    assert len(tried["non_saturating"]) == 3
    assert figures["learning_rate"] in games.RATES
    assert {"frechet_distance", "kernel_distance", "recall", "modes", "calibration_error"} <= set(figures)
    assert sum(name.startswith("frechet_distance_at_") for name in figures) == games.EVALUATIONS
    assert figures["finding_young"] == 1
    assert "non-saturating" in page.markdown({"non_saturating": row}, {"non_saturating": 1.0}, tried)
    assert read_back(tmp_path, row)


def read_back(out: Path, row: Row) -> bool:
    """Whether a second call reads the seed's result and trains nothing."""
    said: list[str] = []
    again = runner.reproduce(play.experiment("non_saturating"), [0], out, None, said.append)
    return again == row and said == [f"non_saturating, seed 0: read back from {out / 'non_saturating/seed-0'}"]


def test_a_rate_that_diverges_is_not_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = {1e-3: math.inf, 3e-3: 7.0, 1e-2: math.inf}
    monkeypatch.setattr(play, "_distance", lambda _name, rate, _folder, _setting: distances[rate])
    assert play.tuned("minimax", setting(tmp_path)) == 3e-3


@pytest.mark.parametrize(("better", "beyond"), [(1e-3, 3e-4), (3e-3, 1e-2)])
def test_a_third_rate_is_tried_beyond_the_better_of_two(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, better: float, beyond: float
) -> None:
    tried: list[float] = []

    def distance(_name: str, rate: float, _folder: Path, _setting: Setting) -> float:
        tried.append(rate)
        return 1.0 if rate == beyond else abs(rate - better) + 2.0

    monkeypatch.setattr(play, "_distance", distance)
    assert play.tuned("minimax", setting(tmp_path)) == beyond
    assert tried == [1e-3, 3e-3, beyond]


def test_a_run_that_diverges_is_measured_at_its_newest_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = replace(setting(tmp_path), folder=tmp_path)

    def diverges(*_arguments: object) -> None:
        raise DivergenceError("critic/total is nan at sample 64", "")

    monkeypatch.setattr(play, "completed", diverges)
    assert play._trained("minimax", 1e-3, place) == (tmp_path / "run", True)
