"""The best checkpoint of a run: kept beside the newest, forgotten with the future that a run does not take."""

import json
import shutil
from pathlib import Path
from typing import cast

import pytest

from tests.support import exported, small
from training.cli import main
from training.loop import run
from training.loop.run_logger import RunLogger
from training.state import checkpoint, history
from training.state.best import lowest, measurements
from training.state.checkpoint import Checkpoint
from training.state.history import Event
from training.tables import Value


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of vectors whose samples were measured eight times."""
    place = tmp_path_factory.mktemp("best") / "run"
    mlp: dict[str, Value] = {"kind": "mlp", "widths": [16]}
    pace: dict[str, Value] = {"total_samples": 512, "checkpoint_every_samples": 192, "log_every_samples": 64}
    watched: dict[str, Value] = {"every_samples": 0, "evaluate_every_samples": 64}
    config = small.config(
        data={"kind": "ring"},
        generator={**mlp, "latent_size": 2},
        discriminator=mlp,
        trainer=pace,
        diagnostics=watched,
    )
    run.start(config, place, exported.unheard)
    return place


def kept(place: Path) -> list[int]:
    return sorted(int(path.stem) for path in (place / checkpoint.BEST_FOLDER).iterdir())


def of(samples: int) -> Checkpoint:
    """A checkpoint that holds its place alone."""
    return cast("Checkpoint", {"state": {"samples_seen": samples}})


def test_the_checkpoint_with_the_lowest_figure_is_kept(ring: Path) -> None:
    rows = [row for row in history.rows(ring) if "quality/reverse_kl" in row]
    assert [row["samples"] for row in rows] == [*range(64, 513, 64)]
    best = min(rows, key=lambda row: row["quality/reverse_kl"])
    found = checkpoint.find_best(ring)
    assert found is not None
    assert (found[1].samples, found[1].measure) == (best["samples"], "reverse_kl")
    assert checkpoint.load_run(ring, "best").samples_seen == best["samples"]
    assert best["samples"] in kept(ring)
    assert len(kept(ring)) <= 1 + checkpoint.KEPT


def test_a_resumed_run_keeps_the_same_best_checkpoints(ring: Path, tmp_path: Path) -> None:
    again = shutil.copytree(ring, tmp_path / "again")
    checkpoint.find(again, "newest").unlink()
    assert int(checkpoint.find(again, "newest").stem) == 384
    run.resume(again, exported.unheard)
    assert (again / history.METRICS_NAME).read_bytes() == (ring / history.METRICS_NAME).read_bytes()
    assert kept(again) == kept(ring)


def test_export_takes_the_best_checkpoint_if_asked_and_records_its_measure(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = checkpoint.find_best(ring)
    assert found is not None
    assert main(["export", str(ring), "--models", str(tmp_path), "--checkpoint", "best"]) == 0
    assert f"checkpoint: the best, of {found[1].samples:,} of 512 samples, by reverse_kl" in capsys.readouterr().out
    manifest = json.loads((tmp_path / "small/1/manifest.json").read_text())
    assert manifest["provenance"]["best"] == found[1].plain()
    assert manifest["provenance"]["samples_seen"] == found[1].samples
    card = (tmp_path / "small/1/card.md").read_text()
    assert "the best measured while it trained (reverse_kl" in card
    assert ("## Diagnosis" in card) == (found[1].samples == 512)  # the report is of the newest checkpoint


def test_the_report_marks_the_best_checkpoint(ring: Path) -> None:
    found = checkpoint.find_best(ring)
    assert found is not None
    page = (ring / "report.html").read_text()
    assert f"best at {found[1].samples:,}, by reverse_kl" in page
    assert "Quality of samples" in page
    assert json.loads((ring / "report.json").read_text())["best"] == found[1].plain()


def test_a_run_without_measurements_says_how_to_get_a_best_checkpoint(
    ring: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = shutil.copytree(ring, tmp_path / "bare")
    shutil.rmtree(bare / checkpoint.BEST_FOLDER)
    assert main(["sample", str(bare), "--checkpoint", "best"]) == 2
    assert "[diagnostics] evaluate_every_samples" in capsys.readouterr().err


def test_what_was_best_in_a_future_that_is_not_taken_is_forgotten_and_the_one_before_comes_back(tmp_path: Path) -> None:
    with RunLogger(tmp_path, total_samples=640, samples_seen=0, batch_size=64) as logger:
        for samples, value in ((64, 5.0), (128, 3.0), (192, 4.0), (256, 2.0), (320, 1.0)):
            logger.means(samples, {"quality/frechet_distance": value, "quality/precision": 9.0 - value})
            logger.flush()
            if (best := lowest(measurements(history.rows(tmp_path)))) is not None and best.samples == samples:
                checkpoint.save_best(tmp_path, of(samples))
            if samples == 192:
                checkpoint.save(tmp_path, of(samples))
        assert kept(tmp_path) == [128, 320]  # the best of all, and the best of what the run would go back to
        logger.rewind(192, [Event(192, "rollback", "diverged")])
        assert kept(tmp_path) == [128]
        found = checkpoint.find_best(tmp_path)
        assert found is not None
        assert str(found[1]) == "frechet_distance 3"


def test_a_figure_that_is_not_finite_or_of_another_measure_is_never_the_best() -> None:
    rows = [
        {"samples": 64, "quality/other": 0.1},
        {"samples": 128, "quality/frechet_distance": float("nan")},
        {"samples": 192, "critic/total": 1.0},
        {"samples": 256, "quality/frechet_distance": 7.0, "quality/precision": 0.0},
        {"samples": 320, "quality/frechet_distance": 7.0},
    ]
    best = lowest(measurements(rows))
    assert best is not None
    assert (best.samples, best.value) == (256, 7.0)
