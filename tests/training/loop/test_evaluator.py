"""The measurements of a run's samples while it trains."""

from pathlib import Path

import pytest

from tests.support import small
from training.errors import ConfigError
from training.loop import run
from training.state import history
from training.state.history import QUALITY, Row

DISTANCE = f"{QUALITY}frechet_distance"


def quiet(_line: str) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    folder = tmp_path_factory.mktemp("measured")
    run.start(small.config(diagnostics={"evaluate_every_samples": 480}), folder, quiet)
    return history.rows(folder)


def test_samples_are_measured_at_the_multiples_and_at_the_end(measured: list[Row]) -> None:
    assert [row["samples"] for row in measured if DISTANCE in row] == [480, 960, 1_280]


def test_measuring_changes_nothing_else(measured: list[Row], tmp_path: Path) -> None:
    run.start(small.config(), tmp_path, quiet)
    apart = [{name: figure for name, figure in row.items() if not name.startswith(QUALITY)} for row in measured]
    assert [row for row in apart if len(row) > 1] == history.rows(tmp_path)


def test_the_samples_of_a_mixture_are_measured_by_its_modes(tmp_path: Path) -> None:
    ring = small.config(
        data={"kind": "ring", "train_samples": 1_000, "held_out_samples": 500},
        generator={"kind": "mlp", "latent_size": 2, "widths": [8]},
        discriminator={"kind": "mlp", "widths": [8]},
        diagnostics={"every_samples": 0, "evaluate_every_samples": 1_280},
    )
    run.start(ring, tmp_path, quiet)
    last = history.rows(tmp_path)[-1]
    assert {name for name in last if name.startswith(QUALITY)} == {
        "quality/reverse_kl",
        "quality/captured",
        "quality/high_quality_share",
    }


def test_items_are_refused_before_training(tmp_path: Path) -> None:
    planted = small.config(
        data={"kind": "planted", "users": 20, "items": 40},
        generator={"kind": "factorization", "latent_size": 40, "prior": "gumbel", "conditional": True, "dimension": 2},
        discriminator={"kind": "factorization", "dimension": 2},
        objective={"kind": "irgan"},
        trainer={"total_samples": 32, "batch_size": 16, "ema_half_life_samples": 0},
        diagnostics={"evaluate_every_samples": 16},
    )
    with pytest.raises(ConfigError, match="evaluate_every_samples measures images and mixtures"):
        run.start(planted, tmp_path, quiet)
    assert not (tmp_path / "metrics.jsonl").exists()
