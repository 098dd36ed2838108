"""Runs as real processes: killed, stopped, resumed, refused; and equal, bit for bit, to an uninterrupted one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.support import games, small
from tests.support.serving import free_port
from tests.support.states import same
from training import config
from training.errors import CheckpointError, DivergenceError
from training.files import exclusive
from training.loop import run
from training.state import checkpoint
from training.tables import Value

TOTAL = 4_800
PACE: dict[str, Value] = {"total_samples": TOTAL, "checkpoint_every_samples": 960, "log_every_samples": 500}


@pytest.fixture(scope="module")
def config_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "run.toml"
    path.write_text(small.text(trainer=PACE))
    return path


@pytest.fixture(scope="module")
def whole(config_file: Path) -> Path:
    """An uninterrupted run, by a process of its own."""
    folder = config_file.parent / "whole"
    status, _, errors = small.command("train", config_file, "--out", folder)
    assert status == 0, errors
    return folder


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def checkpoints(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").glob("*.pt"))


@pytest.mark.slow
def test_a_killed_and_a_stopped_run_end_bit_for_bit_as_an_untouched_one(
    tmp_path: Path, config_file: Path, whole: Path
) -> None:
    broken = tmp_path / "broken"
    process = small.launch("train", config_file, "--out", broken)
    small.wait_for(lambda: bool(checkpoints(broken)), process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(checkpoints(broken)) < TOTAL // 960

    process = small.launch("resume", broken)
    before = checkpoints(broken)
    small.wait_for(lambda: checkpoints(broken) != before, process)
    process.terminate()
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    stopped_at = checkpoint.read(broken)["state"]["samples_seen"]
    assert stopped_at < TOTAL
    assert f"stopped at sample {stopped_at:,}; go on with `python -m training resume {broken}`" in errors

    assert small.command("resume", broken)[0] == 0
    assert (broken / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert same(checkpoint.read(broken), checkpoint.read(whole))
    final_grid = f"{TOTAL:012d}.png"
    assert (broken / "grids" / final_grid).read_bytes() == (whole / "grids" / final_grid).read_bytes()


def test_a_run_leaves_a_configuration_rows_curves_and_grids(config_file: Path, whole: Path) -> None:
    assert config.load(whole / "config.toml") == config.load(config_file)
    rows = [json.loads(line) for line in (whole / "metrics.jsonl").read_text().splitlines()]
    assert sum("critic/total" in row for row in rows) == 10
    assert sum("theory/paired_jsd_bound" in row for row in rows) == TOTAL // 320
    assert list((whole / "tensorboard").iterdir())
    with Image.open(whole / "grids" / f"{TOTAL:012d}.png") as grid:
        assert grid.size == (144, 144)
    assert checkpoints(whole) == ["000000003840.pt", "000000004800.pt"]


def test_a_run_that_is_being_trained_is_not_resumed_a_second_time(tmp_path: Path) -> None:
    run.start(small.config(trainer={"total_samples": 16}), tmp_path / "run", ignore)
    with (
        exclusive(tmp_path / "run" / run.LOCK_NAME),
        pytest.raises(
            CheckpointError, match=r"another process, number \d+, is training .*/run; wait for it, end it, .*torchrun"
        ),
    ):
        run.resume(tmp_path / "run", ignore)


def test_training_that_diverges_stops_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    wild = small.config(
        objective={"kind": "minimax", "gamma_r1": 1e18},
        trainer={"learning_rate_discriminator": 1e6, "checkpoint_every_samples": 16},
    )
    with pytest.raises(DivergenceError):
        run.start(wild, tmp_path / "run", ignore)
    loaded = checkpoint.load_run(tmp_path / "run")
    for network in (loaded.players.generator_side, loaded.ema, loaded.players.critic_side):
        assert all(weight.isfinite().all() for weight in network.parameters())


def test_a_second_run_does_not_go_into_the_same_folder(tmp_path: Path) -> None:
    said: list[str] = []
    run.start(small.config(trainer={"total_samples": 16}), tmp_path / "run", said.append)
    with pytest.raises(CheckpointError, match=r"holds a run already; go on with `python -m training resume .*/run`"):
        run.start(small.config(), tmp_path / "run", said.append)


def test_a_run_that_ended_before_its_first_checkpoint_is_begun_again(tmp_path: Path) -> None:
    run.start(small.config(trainer={"total_samples": 160}), tmp_path / "run", ignore)
    rows = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    run.start(small.config(trainer={"total_samples": 160}), tmp_path / "run", ignore)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == rows


def test_a_complete_run_stays_as_it_is_when_resumed(tmp_path: Path) -> None:
    said: list[str] = []
    run.start(small.config(trainer={"total_samples": 160}), tmp_path / "run", said.append)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    run.resume(tmp_path / "run", said.append)
    assert said[-1] == f"{tmp_path / 'run'} is complete at 160 samples"
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_run_is_resumed_where_its_data_has_moved_but_not_on_other_data(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    for number in range(160):
        Image.new("L", (8, 8), number).save(here / f"{number}.png")
    said: list[str] = []
    folder_config = small.config(
        data={"kind": "folder", "path": str(here), "held_out_fraction": 0.5}, trainer={"total_samples": 160}
    )
    run.start(folder_config, tmp_path / "run", said.append)
    shutil.copytree(here, there)
    run.resume(tmp_path / "run", said.append, str(there))
    shutil.rmtree(here)
    run.resume(tmp_path / "run", said.append)  # it remembers
    Image.new("L", (8, 8), 255).save(there / "3.png")
    with pytest.raises(CheckpointError, match="was trained on other data: 1 with other content; its SHA-256 was"):
        run.resume(tmp_path / "run", said.append, str(there))


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"cannot make .*/file/run: Not a directory"):
        run.start(small.config(), tmp_path / "file" / "run", ignore)


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "training")


def together(*arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line as the README does with two processes, to its end: exit code, stdout, stderr."""
    pair = small.launch(*arguments, interpreter=TWO)
    output, errors = pair.communicate(timeout=small.PATIENCE_S)
    return pair.returncode, output, errors


def on_two_hosts(*arguments: str | Path) -> list[tuple[int, str, str]]:
    """Run the command line as the page says for two hosts, one process on each, both here."""
    meeting = ("--nproc_per_node", "1", "--master_addr", "127.0.0.1", "--master_port", str(free_port()))
    hosts = [
        small.launch(
            *arguments,
            interpreter=(
                "-m",
                "torch.distributed.run",
                "--nnodes",
                "2",
                "--node_rank",
                str(rank),
                *meeting,
                "-m",
                "training",
            ),
        )
        for rank in range(2)
    ]
    said = [host.communicate(timeout=small.PATIENCE_S) for host in hosts]
    return [(host.returncode, *each) for host, each in zip(hosts, said, strict=True)]


def rows(folder: Path) -> list[dict[str, float]]:
    """The metrics of a run."""
    return [json.loads(row) for row in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_equal_losses(one: Path, two: Path) -> None:
    """Both runs have twenty rows with the same losses, up to rounding."""
    assert len(rows(one)) == len(rows(two)) == 20
    for alone, shared in zip(rows(one), rows(two), strict=True):
        for loss in ("critic/total", "generator/total", "critic/r1", "critic/r2"):
            assert shared[loss] == pytest.approx(alone[loss], abs=1e-5), (loss, alone["samples"])


@pytest.mark.slow
def test_two_hosts_train_and_resume_one_run_with_the_losses_of_one_process(tmp_path: Path) -> None:
    changes: dict[str, dict[str, Value]] = {
        "generator": {"norm": "none"},
        "objective": {"kind": "wasserstein_gp", "gamma_r1": 0.5, "gamma_r2": 0.5},
        "trainer": {
            "total_samples": 320,
            "log_every_samples": 16,
            "accumulate": 2,
            "learning_rate_final_fraction": 1.0,
        },
    }
    run.start(small.config(**changes), tmp_path / "one", ignore)
    (tmp_path / "run.toml").write_text(small.text(**changes))
    folder = tmp_path / "two"
    begun = on_two_hosts("train", tmp_path / "run.toml", "--out", folder, "--set", "trainer.total_samples=160")
    ended = on_two_hosts("resume", folder, "--total-samples", "320")
    for status, _, errors in (*begun, *ended):
        assert status == 0, errors
    assert sum("2 processes" in output for _, output, _ in begun) == 1  # told by the main one
    assert_equal_losses(tmp_path / "one", folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {"generator": {"norm": "batch"}},
        {
            "generator": {"norm": "none", "conditional": True},
            "augmentation": {"kind": "diffaugment"},
            "trainer": {"total_samples": 320, "log_every_samples": 16, "accumulate": 2},
        },
        {"objective": {**games.INFOGAN, "weight_steady": 1.0, "gamma_r2": 0.5, "penalty_every_steps": 1}},
    ],
    ids=["batch normalisation", "labels, augmentation and parts", "codes and warps"],
)
def test_two_processes_have_the_losses_of_one_up_to_rounding(
    changes: dict[str, dict[str, Value]], tmp_path: Path
) -> None:
    changes = {"generator": {"norm": "none"}, "trainer": {"total_samples": 320, "log_every_samples": 16}, **changes}
    (tmp_path / "run.toml").write_text(small.text(**changes))
    run.start(small.config(**changes), tmp_path / "one", ignore)
    status, output, errors = together("train", tmp_path / "run.toml", "--out", tmp_path / "two")
    assert status == 0, errors
    assert "fp32 on cpu, 2 processes" in output  # told by the main one: not two that train a run each
    assert output.count("is complete at") == 1
    assert_equal_losses(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds a process of several in /proc")
def test_two_processes_of_which_one_is_stopped_end_behind_one_checkpoint(tmp_path: Path) -> None:
    changes: dict[str, dict[str, Value]] = {"trainer": {"total_samples": 64_000, "checkpoint_every_samples": 64_000}}
    (tmp_path / "run.toml").write_text(small.text(**changes))
    folder = tmp_path / "run"
    pair = small.launch("train", tmp_path / "run.toml", "--out", folder, interpreter=TWO)
    small.wait_for(lambda: (folder / "metrics.jsonl").exists() and bool((folder / "metrics.jsonl").read_text()), pair)
    children = Path(f"/proc/{pair.pid}/task/{pair.pid}/children").read_text().split()
    second = next(pid for pid in children if b"\0LOCAL_RANK=1\0" in Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(int(second), signal.SIGTERM)
    _, errors = pair.communicate(timeout=small.PATIENCE_S)
    assert len(checkpoints(folder)) == 1
    seen = checkpoint.read(folder)["state"]["samples_seen"]
    assert 0 < seen < 64_000
    assert f"stopped at sample {seen:,}" in errors


@pytest.mark.slow
def test_two_processes_tell_one_dry_run(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(small.text())
    status, output, errors = together("train", tmp_path / "run.toml", "--dry-run")
    assert status == 0, errors
    assert errors.count("one step of 16 samples costs") == 1
    assert config.loads(output) == small.config()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system with room for two checkpoints and not for a third."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_full_disk_is_one_sentence_and_with_more_room_the_run_goes_on_to_the_same_end(
    config_file: Path, whole: Path, small_disk: Path
) -> None:
    cramped = small_disk / "run"
    status, _, errors = small.command("train", config_file, "--out", cramped)
    assert status == 2
    assert "Traceback" not in errors
    assert "No space left on device" in errors.splitlines()[-1]
    assert checkpoint.read(cramped)["state"]["samples_seen"] > 0
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    assert small.command("resume", cramped)[0] == 0
    assert (cramped / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert same(checkpoint.read(cramped), checkpoint.read(whole))
