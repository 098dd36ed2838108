"""Stopping by validation: what is chosen, what is measured, and what an interrupted attempt keeps."""

from pathlib import Path

import numpy as np
import pytest

from tests.support import small
from training import config as configuration
from training import data as sources
from training.config import Config
from training.data import InteractionData, planted
from training.data.interaction_data import Pairs
from training.evaluation.ranking import METRICS
from training.experiments.base import Setting
from training.experiments.stopped_ranking import VALIDATION_USERS, chosen_length, measure, validating
from training.state import checkpoint

PRETRAINING_STEPS, BATCH, TOTAL = 4, 32, 640


def written(folder: Path, name: str, pairs: Pairs) -> None:
    (folder / f"small-{name}.txt").write_text("".join(f"{user}\t{item}\t5\n" for user, item in pairs))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A run of a moment on a file pair with planted tastes, as many users as validation asks for."""
    drawn = planted.load(planted.PlantedConfig(users=VALIDATION_USERS, items=16, rank=2, positives=4, test_positives=2))
    written(tmp_path, "train", drawn.pairs)
    written(tmp_path, "test", drawn.test)
    items = int(max(drawn.train.max(), drawn.held_out.max())) + 1
    return configuration.loads(
        small.text(
            data={"kind": "interactions", "path": str(tmp_path), "stem": "small"},
            generator={"kind": "factorization", "latent_size": items, "prior": "gumbel", "conditional": True},
            discriminator={"kind": "factorization"},
            objective={"kind": "irgan", "pretraining_steps": PRETRAINING_STEPS},
            trainer={"total_samples": TOTAL, "batch_size": BATCH, "learning_rate_generator": 0.05},
        )
    )


def setting(tmp_path: Path, said: list[str]) -> Setting:
    folder = tmp_path / "attempt"
    folder.mkdir(exist_ok=True)
    return Setting(seed=1, folder=folder, data_path=None, say=said.append)


def test_validation_takes_pairs_from_training_and_none_from_the_test(config: Config) -> None:
    whole, aside = sources.load(config.data), sources.load(validating(config, 1).data)
    assert isinstance(whole, InteractionData)
    assert isinstance(aside, InteractionData)
    assert np.array_equal(whole.test, aside.test)
    assert len(aside.validation) == 2 * VALIDATION_USERS  # 0.4 of four pairs each, rounded
    assert sorted(map(tuple, np.concatenate([aside.pairs, aside.validation]))) == sorted(map(tuple, whole.pairs))


def test_the_length_is_chosen_within_the_game_and_kept(tmp_path: Path, config: Config) -> None:
    said: list[str] = []
    chosen = chosen_length(config, setting(tmp_path, said))
    assert PRETRAINING_STEPS * BATCH < chosen <= TOTAL
    assert len(said) == 10
    assert chosen_length(config, setting(tmp_path, said)) == chosen
    assert len(said) == 10  # nothing was trained again


@pytest.mark.slow
def test_the_figures_are_of_the_chosen_length_and_of_the_end_of_pretraining(tmp_path: Path, config: Config) -> None:
    said: list[str] = []
    begun = setting(tmp_path, said)
    (begun.folder / "stop.json").write_text('{"samples": 160}')
    figures = measure(config, begun)
    assert figures["samples"] == 160
    assert {*METRICS, *(f"pretrained_{name}" for name in METRICS), "samples"} == set(figures)
    assert checkpoint.load_run(begun.folder / "run").samples_seen == 160
    assert checkpoint.load_run(begun.folder / "pretrained").samples_seen == PRETRAINING_STEPS * BATCH
