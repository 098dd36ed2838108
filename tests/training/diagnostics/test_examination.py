"""Examination: a run's folder becomes its record, at any time of its life."""

from pathlib import Path

import pytest
from PIL import Image

from tests.support import small
from training.diagnostics.report import examine
from training.errors import CheckpointError
from training.loop import run
from training.tables import Value


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def test_a_finished_run_is_read_and_compared_with_its_data(tmp_path: Path) -> None:
    run.start(small.config(trainer={"total_samples": 320}), tmp_path / "run", ignore)
    record, unread = examine(tmp_path / "run")
    assert unread is None
    assert record.samples_seen == 320
    assert [row["samples"] for row in record.rows] == [160, 320]
    assert record.inspection is not None
    assert record.inspection.memorisation.copies < 0.25
    assert record.inspection.two_sample.auc > 0.99  # twenty steps make no digits
    assert record.inspection.moved is not None
    assert record.inspection.moved > 0


def test_a_run_without_a_checkpoint_is_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(small.text())
    record, unread = examine(tmp_path)
    assert (record.samples_seen, record.inspection) == (0, None)
    assert unread == "there is no checkpoint yet"


def test_data_that_has_changed_is_not_compared_with(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(160):
        Image.new("L", (8, 8), number).save(images / f"{number:02d}.png")
    folder: dict[str, Value] = {"kind": "folder", "path": str(images), "held_out_fraction": 0.5}
    config = small.config(data=folder, trainer={"total_samples": 160})
    run.start(config, tmp_path / "run", ignore)
    assert examine(tmp_path / "run")[1] is None
    Image.new("L", (8, 8), 255).save(images / "03.png")
    record, unread = examine(tmp_path / "run")
    assert record.inspection is None
    assert unread is not None
    assert "is no longer the data that the run was trained on" in unread


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run; a run starts with"):
        examine(tmp_path)


def test_the_untrained_generator_is_the_one_that_the_run_began_with(tmp_path: Path) -> None:
    still = small.config(trainer={"total_samples": 160, "learning_rate_generator": 1e-30})
    run.start(still, tmp_path / "run", ignore)
    record, _ = examine(tmp_path / "run")
    assert record.inspection is not None
    assert record.inspection.moved == pytest.approx(0, abs=1e-6)


def test_the_critic_judges_the_averaged_generator_beside_the_one_that_it_is_trained_against(tmp_path: Path) -> None:
    found = {}
    for half_life in (0, 10**9):  # the average is the generator; the average is the generator before its first step
        pace: dict[str, Value] = {"total_samples": 160, "ema_half_life_samples": half_life}
        run.start(small.config(trainer=pace, generator={"norm": "none"}), tmp_path / f"{half_life}", ignore)
        inspection = examine(tmp_path / f"{half_life}")[0].inspection
        assert inspection is not None
        assert inspection.critic is not None
        found[half_life] = inspection.critic
    assert found[0].told_apart == found[10**9].told_apart == found[0].served != found[10**9].served


GAMES: dict[str, dict[str, dict[str, Value]]] = {
    "conditional": {"generator": {"conditional": True}},
    "packed": {"discriminator": {"pack": 2}},
    "BiGAN": {"objective": {"kind": "bigan"}, "encoder": {"kind": "convolutional"}},
    "InfoGAN": {"objective": {"kind": "infogan", "categorical": {"digit": 10}}},
}


@pytest.mark.parametrize("changes", GAMES.values(), ids=GAMES.keys())
def test_players_of_every_kind_are_inspected_and_always_alike(
    changes: dict[str, dict[str, Value]], tmp_path: Path
) -> None:
    run.start(small.config(trainer={"total_samples": 160}, **changes), tmp_path / "run", ignore)
    record, unread = examine(tmp_path / "run")
    assert unread is None
    assert record.inspection is not None
    assert record.inspection.critic is not None
    assert record.inspection.critic.served is not None
    assert 0 <= record.inspection.critic.served <= 1
    assert examine(tmp_path / "run")[0].inspection == record.inspection
