"""Recording: rows that a resumed run continues, curves, and sheets one can read."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import (  # type: ignore[import-untyped]  # publishes none
    EventAccumulator,
)

from training.loop.run_logger import RunLogger
from training.state.history import METRICS_NAME, Event, events


def recorder(run: Path, samples_seen: int = 0) -> RunLogger:
    return RunLogger(run, total_samples=100, samples_seen=samples_seen, batch_size=10)


def rows(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / METRICS_NAME).read_text().splitlines()]


def test_means_become_rows_and_curves(tmp_path: Path) -> None:
    with recorder(tmp_path) as recording:
        recording.advance(10, {"critic/total": torch.tensor(2.0)})
        recording.means(10, {"critic/total": 2.0})
        recording.means(20, {"critic/total": 1.5})
    assert rows(tmp_path) == [{"samples": 10, "critic/total": 2.0}, {"samples": 20, "critic/total": 1.5}]
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in board.Scalars("critic/total")] == [(10, 2.0), (20, 1.5)]
    assert [event.step for event in board.Scalars("samples_per_second")] == [10, 20]


def test_a_resumed_recording_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    with recorder(tmp_path) as recording:
        for samples in (10, 20, 30):
            recording.means(samples, {"loss": float(samples)})
    with recorder(tmp_path, samples_seen=20) as recording:
        recording.means(30, {"loss": -1.0})
    assert rows(tmp_path) == [
        {"samples": 10, "loss": 10.0},
        {"samples": 20, "loss": 20.0},
        {"samples": 30, "loss": -1.0},
    ]


def test_a_row_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    (tmp_path / METRICS_NAME).write_text('{"samples": 10, "loss": 1.0}\n{"samples": 20, "lo')
    with recorder(tmp_path, samples_seen=20):
        pass
    assert rows(tmp_path) == [{"samples": 10, "loss": 1.0}]


def test_a_resumed_recording_keeps_events_up_to_the_checkpoint_and_the_rollbacks_that_it_knows(tmp_path: Path) -> None:
    collapse, recovery = Event(10, "collapse", "one point"), Event(30, "recovery", "many")
    known, unknown = Event(20, "rollback", "to 20"), Event(20, "rollback", "written before a crash")
    with recorder(tmp_path) as recording:
        for event in (collapse, unknown, recovery):
            recording.event(event)
    with RunLogger(tmp_path, total_samples=100, samples_seen=20, batch_size=10, recorded=[known]):
        pass
    assert events(tmp_path) == [collapse, known]


def test_rewinding_is_like_resuming_and_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    back = Event(10, "rollback", "back to sample 10")
    with recorder(tmp_path) as recording:
        for samples in (10, 20):
            recording.means(samples, {"loss": float(samples)})
        recording.rewind(10, [back])
        recording.means(20, {"loss": -1.0})
    assert rows(tmp_path) == [{"samples": 10, "loss": 10.0}, {"samples": 20, "loss": -1.0}]
    assert events(tmp_path) == [back]
    assert "sample 10: back to sample 10" in capsys.readouterr().err


def test_the_bar_shows_the_losses_of_the_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with recorder(tmp_path) as recording:
        recording.advance(10, {"critic/total": torch.tensor(0.125), "critic/r1": torch.tensor(9.0)})
    shown = capsys.readouterr().err
    assert "critic=0.125" in shown
    assert "10.0/100" in shown


def test_grids_are_named_by_their_time(tmp_path: Path) -> None:
    with recorder(tmp_path) as recording:
        recording.grid(10, torch.zeros(4, 1, 2, 3), np.zeros((1, 1, 2, 3), np.uint8))
    with Image.open(tmp_path / "grids" / "000000000010.png") as image:
        assert image.size == (32, 6)


def test_tensorboard_shows_the_grids(tmp_path: Path) -> None:
    with recorder(tmp_path) as recording:
        for samples, shade in ((10, -1.0), (20, 1.0)):
            recording.grid(samples, torch.full((4, 1, 2, 3), shade), np.zeros((1, 1, 2, 3), np.uint8))
        recording.grid(30, torch.zeros(4, 1, 2, 3), np.zeros((1, 1, 2, 3), np.uint8), whole=False)
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = board.Images("samples")
    assert [image.step for image in shown] == [10, 20]
    for image in shown:
        kept = Image.open(tmp_path / "grids" / f"{image.step:012d}.png").convert("RGB")
        sent = Image.open(io.BytesIO(image.encoded_image_string)).convert("RGB")
        assert np.array_equal(np.asarray(sent), np.asarray(kept))
