"""Examination: a run's folder becomes its record, at any time of its life."""

from pathlib import Path

import pytest
from PIL import Image

from tests.training import small
from training import run
from training.diagnostics.examination import examine
from training.errors import CheckpointError


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def test_a_finished_run_is_read_and_compared_with_its_data(tmp_path: Path) -> None:
    run.start(small.config(trainer={"total_samples": 320}), tmp_path / "run", ignore)
    record, unread = examine(tmp_path / "run")
    assert unread is None
    assert record.samples_seen == 320
    assert [row["samples"] for row in record.rows] == [160, 320]
    assert record.memorisation is not None
    assert record.memorisation.copies < 0.25


def test_a_run_without_a_checkpoint_is_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(small.text())
    record, unread = examine(tmp_path)
    assert (record.samples_seen, record.memorisation) == (0, None)
    assert unread == "there is no checkpoint yet"


def test_data_that_has_changed_is_not_compared_with(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for number in range(64):
        Image.new("L", (8, 8), 4 * number).save(images / f"{number:02d}.png")
    config = small.config(data={"kind": "folder", "path": str(images)}, trainer={"total_samples": 160})
    run.start(config, tmp_path / "run", ignore)
    assert examine(tmp_path / "run")[1] is None
    Image.new("L", (8, 8), 255).save(images / "03.png")
    record, unread = examine(tmp_path / "run")
    assert record.memorisation is None
    assert unread is not None
    assert "is no longer the data that the run was trained on" in unread


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no run; a run starts with"):
        examine(tmp_path)
