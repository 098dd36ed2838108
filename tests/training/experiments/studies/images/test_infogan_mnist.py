"""InfoGAN's row: what is measured of a run that is complete, here a small one on other digits."""

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support import exported, games
from training.experiments.base import Setting
from training.experiments.studies.images.infogan_mnist import FIGURE, GAP, SHOWN_LATENTS, STEPS, measure
from training.loop import run


def test_the_code_is_read_from_held_out_images_and_from_samples(tmp_path: Path) -> None:
    run.start(games.infogan(trainer=games.BRIEF, diagnostics=games.UNWATCHED), tmp_path / "run", exported.unheard)
    said: list[str] = []
    figures = measure(Setting(seed=0, folder=tmp_path, data_path=None, say=said.append))
    assert set(figures) == {"one_to_one_accuracy", "majority_accuracy", "read_back"}
    assert 0.1 <= figures["one_to_one_accuracy"] <= figures["majority_accuracy"] <= 1
    assert 0 <= figures["read_back"] <= 1
    with Image.open(tmp_path / FIGURE) as sheet:
        columns, gaps = SHOWN_LATENTS + 2 * STEPS, 2  # two continuous codes
        assert sheet.size == (8 * columns + gaps * GAP, 8 * 10)
        assert len(np.unique(np.asarray(sheet))) > 20
    assert said[-1].endswith(f"{figures['one_to_one_accuracy']:.2%} one to one")
