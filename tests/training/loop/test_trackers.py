"""Trackers: what W&B and MLflow have of a run, read back from their files; and runs without them."""

import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import PartialState
from PIL import Image

from tests.support import exported, small
from training import config as configuration
from training.cli import main
from training.config import Config
from training.loop import run
from training.loop.trackers import FILE_NAME, Trackers
from training.state import checkpoint, history

ROWS = {64: {"critic/total": 1.5, "theory/modes": 3.0}, 128: {"critic/total": 1.25}}
HEADER, BLOCK, WHOLE_OR_LAST = 7, 32_768, (1, 4)
# Both packages warn of their own deprecations, and leave files to the collector.
loosely = pytest.mark.filterwarnings("ignore")


def config(*trackers: str) -> Config:
    mlp: dict[str, Any] = {"kind": "mlp", "widths": [8]}
    return small.config(
        data={"kind": "ring"},
        generator={**mlp, "latent_size": 2},
        discriminator=mlp,
        trainer={"total_samples": 64, "log_every_samples": 32, "trackers": list(trackers)},
        diagnostics={"every_samples": 0},
    )


def follow(place: Path, *trackers: str) -> None:
    """Send rows and a grid, as a run does."""
    PartialState()  # as a trainer has made it
    picture = place / "000000000064.png"
    Image.new("L", (8, 8)).save(picture)
    with Trackers(place, config(*trackers)) as followed:
        for samples, row in ROWS.items():
            followed.log(samples, row)
        followed.grid(64, picture)


def records(path: Path) -> Iterator[bytes]:
    """The records of a file of W&B: a log of LevelDB, whose blocks have fragments with headers of seven bytes."""
    content, place, record = path.read_bytes(), HEADER, b""
    while place + HEADER <= len(content):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        place += HEADER
        record += content[place : place + size]
        place += size
        if kind in WHOLE_OR_LAST:
            yield record
            record = b""


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_tracker_that_is_not_installed_is_refused_with_what_to_install(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    (tmp_path / "c.toml").write_text(configuration.dumps(config("tensorboard", name)))
    assert main(["train", str(tmp_path / "c.toml"), "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert f"[trainer] trackers names {name}, which is not installed: pip install" in error
    assert "'ganymede-gan[trackers]'" in error
    assert not (tmp_path / "run").exists()


def test_trackers_are_no_part_of_what_a_run_is() -> None:
    with_all, without = config("tensorboard", "wandb", "mlflow"), config("tensorboard")
    assert configuration.sha256(with_all) == configuration.sha256(without)
    assert configuration.first_difference(with_all, without) is None
    assert configuration.loads(configuration.dumps(with_all)) == with_all


def test_tensorboard_alone_starts_no_tracker(tmp_path: Path) -> None:
    follow(tmp_path, "tensorboard")
    assert [path.name for path in tmp_path.iterdir()] == ["000000000064.png"]


@loosely
def test_wandb_has_rows_and_grids_offline_and_a_resumed_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs the extra `trackers`")
    from wandb.proto import wandb_internal_pb2 as messages  # noqa: PLC0415 - optional

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    follow(tmp_path, "wandb")
    follow(tmp_path, "wandb")
    known = json.loads((tmp_path / FILE_NAME).read_text())["wandb"]
    files = sorted((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert [path.name for path in files] == [f"run-{known}.wandb"] * 2
    rows, configured = [], {}
    for record in records(files[0]):
        message = messages.Record.FromString(record)
        if message.HasField("history"):
            items = message.history.item
            rows.append({"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items})
        for update in [*message.config.update, *message.run.config.update]:
            configured["/".join(update.nested_key) or update.key] = json.loads(update.value_json)
    assert [(row["samples"], row.get("critic/total")) for row in rows] == [(64, 1.5), (128, 1.25), (64, None)]
    assert "grids" in " ".join(rows[2])
    assert configured["trainer/total_samples"] == 64


@loosely
def test_mlflow_has_rows_grids_and_parameters_and_a_resumed_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = pytest.importorskip("mlflow", reason="needs the extra `trackers`")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    follow(tmp_path, "mlflow")
    follow(tmp_path, "mlflow")
    known = json.loads((tmp_path / FILE_NAME).read_text())["mlflow"]
    client = mlflow.MlflowClient((tmp_path / "mlflow").as_uri())
    (experiment,) = [each for each in client.search_experiments() if each.name == "small"]
    (found,) = client.search_runs([experiment.experiment_id])
    assert (found.info.run_id, found.info.status) == (known, "FINISHED")
    assert found.data.params["trainer/total_samples"] == "64"
    points = client.get_metric_history(known, "critic/total")
    assert sorted((point.step, point.value) for point in points) == [(64, 1.5), (64, 1.5), (128, 1.25), (128, 1.25)]
    assert [each.path for each in client.list_artifacts(known, "grids")] == ["grids/000000000064.png"]


@loosely
def test_a_tracker_that_fails_is_left_out_and_the_training_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("mlflow", reason="needs the extra `trackers`")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with Trackers(tmp_path, config("mlflow")) as followed:
        shutil.rmtree(tmp_path / "mlflow")
        followed.log(64, ROWS[64])
        followed.log(128, ROWS[128])
    assert capsys.readouterr().err.count("mlflow failed and is left out from now on") == 1
    states = []
    for name, trackers in (("with", ["mlflow"]), ("without", ["tensorboard"])):
        run.start(config(*trackers), tmp_path / name, exported.unheard)
        states.append(checkpoint.read(tmp_path / name))
    assert (tmp_path / "with/metrics.jsonl").read_bytes() == (tmp_path / "without/metrics.jsonl").read_bytes()
    assert states[0]["config_sha256"] == states[1]["config_sha256"]
    assert states[0]["state"]["random"]["python"] == states[1]["state"]["random"]["python"]
    for side in ("generator_side", "critic_side", "ema"):
        ours, theirs = states[0]["state"][side], states[1]["state"][side]
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    assert history.rows(tmp_path / "with")
