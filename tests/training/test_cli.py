"""The command line: what it teaches, and how it answers mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import small
from tests.training.data import images
from training.cli import main
from training.state import checkpoint
from training.tables import Value


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "run.toml"
    path.write_text(small.text(trainer={"total_samples": 16}))
    return path


def test_help_teaches_by_examples(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    for words in ("train", "resume", "data", "python -m training train r3gan-digits --out runs/digits"):
        assert words in shown


def test_a_dry_run_shows_what_would_happen_and_writes_nothing(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(config_file), "--out", str(tmp_path / "run"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for words in (
        'precision = "fp32"',
        "digits: 1,541 samples (1x8x8), 256 more held out",
        "generator side 3,249 parameters, critic side 2,265",
        "one step of 16 samples costs",
        "samples/s",
        "minutes for 16 samples",
    ):
        assert words in shown
    assert list(tmp_path.iterdir()) == [config_file]


def test_a_folder_of_images_is_enough_to_train_and_the_first_lines_tell_how_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cats", "dogs"):
        images.fill(tmp_path / "My pictures!" / name, 80, size=(8, 9))
    (tmp_path / "My pictures!" / ".DS_Store").write_bytes(b"")
    assert main(["train", "--data-path", str(tmp_path / "My pictures!"), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for words in (
        'name = "my-pictures"',
        "images: 160 .png",
        "cats 80, dogs 80",
        "held out: by 0.",
        "left out: 1 hidden or of the system (.DS_Store)",
        "size: 8x9, grey, as they are",
    ):
        assert words in shown


@pytest.mark.parametrize("begin", [["--out", "run"], ["--dry-run"]])
def test_what_no_package_can_hold_is_refused_before_the_first_step(
    begin: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a" * 101, "b"):
        images.fill(tmp_path / "pictures" / name, 100, size=(8, 8))
    path = tmp_path / "run.toml"
    table: dict[str, Value] = {"kind": "folder", "path": "pictures", "labels": "folders"}
    path.write_text(small.text(data=table, generator={"conditional": True, "latent_size": 65_537}))
    assert main(["train", str(path), *begin]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    for words in (
        "of 200 samples, and to calibrate takes 64 or more (set [data] held_out_fraction = 0.40",
        "latent_size is 65,537, and a package's is 65,536 at most",
        "1 of its classes have names of more than 100 characters",
    ):
        assert words in shown.err
    assert not (tmp_path / "run").exists()


def test_train_and_resume_work_from_the_command_line(config_file: Path, tmp_path: Path) -> None:
    assert main(["train", str(config_file), "--out", str(tmp_path / "run")]) == 0
    assert main(["resume", str(tmp_path / "run")]) == 0


def test_bundled_data_is_described(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "digits"]) == 0
    assert capsys.readouterr().out == "digits: 1,541 images to train on, 256 held out\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["train", "r3gan-digit", "--out", "x"], 'there is no configuration r3gan-digit; did you mean "r3gan-digits"?'),
        (["train", "r3gan-digits"], "train needs --out RUN, the folder for the run (or --dry-run, to only look)"),
        (["train", "r3gan-digits", "--data-path", "x", "--out", "x"], "[data] of kind"),
        (["train", "r3gan-mnist", "--data-path", "nowhere", "--dry-run"], "no MNIST in nowhere: "),
        (["resume", "nowhere"], "nowhere has no checkpoint; "),
    ],
)
def test_a_mistake_is_one_sentence_on_stderr_and_status_two(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith(sentence)
    assert shown.err.count("\n") == 1


def test_diverged_training_has_a_status_of_its_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wild.toml"
    path.write_text(small.text(trainer={"learning_rate_discriminator": 1e38}))
    assert main(["train", str(path), "--out", str(tmp_path / "run")]) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("training diverged: ")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_a_precision_that_the_machine_does_not_have_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "half.toml"
    path.write_text(small.text(trainer={"precision": "fp16"}))
    status, _, errors = small.command("train", path, "--dry-run")
    assert (status, errors) == (2, "[trainer] precision fp16 needs a GPU; bf16 works on a CPU as well\n")


def test_half_precision_trains_and_leaves_full_weights(tmp_path: Path) -> None:
    path = tmp_path / "half.toml"
    path.write_text(small.text(trainer={"precision": "bf16", "total_samples": 160}))
    status, output, errors = small.command("train", path, "--out", tmp_path / "run")
    assert status == 0, errors
    assert "bf16 on" in output
    state = checkpoint.read(tmp_path / "run")["state"]
    assert {weight.dtype for weight in state["critic_side"].values()} == {torch.float32}


def test_training_goes_on_when_nobody_reads_what_it_says(config_file: Path, tmp_path: Path) -> None:
    read, written = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "training", "train", str(config_file), "--out", str(tmp_path / "run")],
        stdout=written,
        stderr=written,
        check=False,
    )
    os.close(written)
    assert done.returncode == 0
    assert checkpoint.read(tmp_path / "run")["state"]["samples_seen"] == 16


def test_a_doubt_is_said_before_the_first_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text(small.text(objective={"gamma_r1": 0.0, "gamma_r2": 0.0}))
    assert main(["train", str(path), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.index('warning: [objective] of kind "relativistic"') < shown.index("one step of")
