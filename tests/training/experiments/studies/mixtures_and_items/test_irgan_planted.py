"""The planted experiment, as it is reproduced: what is served follows the planted tastes."""

from pathlib import Path

import pytest

from training.experiments.base import Setting
from training.experiments.studies.mixtures_and_items.irgan_planted import EXPERIMENT


@pytest.mark.slow
def test_served_rankings_draws_and_scores_follow_the_planted_tastes(tmp_path: Path) -> None:
    figures = EXPERIMENT.run(Setting(seed=0, folder=tmp_path, data_path=None, say=lambda _line: None))
    assert all(target.met_by([figures[target.metric]]) for target in EXPERIMENT.targets)
    assert figures["map"] > 2 * figures["map_of_popularity"]
    assert figures["liked_share"] > 1.5 * figures["liked_by_chance"]
    assert figures["relevance_auc"] > 0.7
