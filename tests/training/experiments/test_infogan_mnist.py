"""InfoGAN's row: what is measured of a run that is complete, here a small one on other digits."""

from pathlib import Path

from tests.training import exported, games
from training import run
from training.experiments.infogan_mnist import measure
from training.experiments.port import Setting


def test_the_code_is_read_from_held_out_images_and_from_samples(tmp_path: Path) -> None:
    run.start(games.infogan(), tmp_path / "run", exported.unheard)
    said: list[str] = []
    figures = measure(Setting(seed=0, folder=tmp_path, data_path=None, say=said.append))
    assert set(figures) == {"one_to_one_accuracy", "majority_accuracy", "read_back"}
    assert 0.1 <= figures["one_to_one_accuracy"] <= figures["majority_accuracy"] <= 1
    assert 0 <= figures["read_back"] <= 1
    assert said[-1].endswith(f"{figures['one_to_one_accuracy']:.2%} one to one")
