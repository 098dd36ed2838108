"""The command line: what it teaches, and how it answers mistakes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import small
from tests.training.data import images
from training import config as configuration
from training import keys
from training.cli import main
from training.state import checkpoint, history
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
    shown = capsys.readouterr()
    assert configuration.loads(shown.out) == configuration.load(config_file)  # so that it can be kept as a file
    for words in (
        "digits: 1,541 samples (1x8x8), 256 more held out",
        "generator side 3,249 parameters, critic side 2,265",
        "one step of 16 samples costs",
        "samples/s",
        "minutes for 16 samples",
    ):
        assert words in shown.err
    assert list(tmp_path.iterdir()) == [config_file]


def test_a_folder_of_images_is_enough_to_train_and_the_first_lines_tell_how_it_is_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("cats", "dogs"):
        images.fill(tmp_path / "My pictures!" / name, 80, size=(8, 9))
    (tmp_path / "My pictures!" / ".DS_Store").write_bytes(b"")
    assert main(["train", "--data-path", str(tmp_path / "My pictures!"), "--dry-run"]) == 0
    printed = capsys.readouterr()
    shown = printed.out + printed.err
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


def test_keys_are_set_beside_the_file_and_the_run_says_which(
    config_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    setting = ["--set", "trainer.batch_size=8", "--set", "name=my digits", "--set", "generator.widths=[8, 8, 8]"]
    assert main(["train", str(config_file), "--out", str(run), *setting, "--seed", "7"]) == 0
    told = (
        "set on the command line: trainer.batch_size = 8 (was 16), "
        'name = "my digits" (was "small"), generator.widths = [8, 8, 8] (was [16, 12, 8]), seed = 7 (was 3)'
    )
    assert f"  {told}\n" in capsys.readouterr().out
    resolved = configuration.load(run / "config.toml")
    assert (resolved.name, resolved.seed, resolved.trainer.batch_size) == ("my digits", 7, 8)
    assert [event.text for event in history.events(run)] == [told]
    (change,) = checkpoint.load_run(run).history
    assert change.details["trainer.batch_size"] == {"value": 8, "was": 16}
    assert "set on the command line: trainer.batch_size = 8 (was 16)" in (run / "report.html").read_text()


def test_a_folder_without_a_configuration_takes_settings_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images.fill(tmp_path / "pictures", 160, size=(8, 9))
    small_networks = ("generator.widths=[8, 8, 8]", "discriminator.widths=[8, 8]", "trainer.batch_size=8")
    setting = [word for each in small_networks for word in ("--set", each)]
    assert main(["train", "--data-path", str(tmp_path / "pictures"), "--seed", "5", *setting, "--dry-run"]) == 0
    made = configuration.loads(capsys.readouterr().out)
    assert (made.seed, made.trainer.batch_size, made.name) == (5, 8, "pictures")


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("trainer.batch_sise=8", '[trainer] has no key "batch_sise"; did you mean "batch_size"?'),
        ("trainr.batch_size=8", 'there is no table [trainr]; did you mean "trainer"?'),
        ("batch_size=8", "the key is in a table; write trainer.batch_size"),
        ("sed=8", 'the top level has no key "sed"; did you mean "seed"?'),
        ("trainer=8", "[trainer] is a table; name one of its keys, as in trainer.KEY=VALUE"),
        ("trainer.batch_size", "--set trainer.batch_size is not TABLE.KEY=VALUE, as in trainer.batch_size=128"),
        ("trainer.=8", "--set trainer.=8 is not TABLE.KEY=VALUE, as in trainer.batch_size=128"),
        ("trainer.batch_size=0", "[trainer] batch_size is 0 but must be an integer of at least 1"),
        ("trainer.batch_size=eight", '[trainer] batch_size is "eight" but must be an integer of at least 1'),
        ("trainer.batch_size=8\nseed = 4", "[trainer] batch_size is"),
        ("trainer.batch_size.of=8", '[trainer] has no key "batch_size.of"; did you mean "batch_size"?'),
        ("objective.kind=relativistik", '[objective] has no kind "relativistik"; did you mean "relativistic"?'),
        ("seed=-1", "the top level seed is -1 but must be an integer of at least 0"),
        ("augmentation.target=0.5", '[augmentation] lacks the key "kind"; valid are'),
    ],
)
def test_a_setting_that_cannot_be_is_refused(setting: str, sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "r3gan-digits", "--set", setting, "--out", "x"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"--set {setting}")
    assert sentence in shown


def test_a_setting_is_refused_before_torch_is_imported() -> None:
    program = "import sys; sys.modules['torch'] = None; from training.cli import main; sys.exit(main(sys.argv[1:]))"
    words = ["train", "r3gan-digits", "--set", "trainer.batch_sise=8", "--out", "x"]
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith('[trainer] has no key "batch_sise"; did you mean "batch_size"?\n')


def test_a_table_of_another_kind_keeps_the_keys_that_both_kinds_have(config_file: Path) -> None:
    tables, settings = keys.assign(keys.read(config_file), ["objective.gamma_r1=0.25", "objective.kind=minimax"])
    assert tables["objective"] == {"kind": "minimax", "gamma_r1": 0.25, "gamma_r2": 0.5, "gamma_final_fraction": 0.1}
    assert [str(each) for each in settings] == [
        'objective.kind = "minimax" (was "relativistic")',
        "objective.gamma_r1 = 0.25 (was 0.5)",
    ]
    tables, settings = keys.assign(tables, ["objective.kind=irgan"])
    assert tables["objective"] == {"kind": "irgan"}
    assert "objective.gamma_r1 left out (was 0.25)" in [str(each) for each in settings]


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
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    os.close(written)
    assert done.returncode == 0
    assert checkpoint.read(tmp_path / "run")["state"]["samples_seen"] == 16


def test_a_doubt_is_said_before_the_first_step(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "run.toml"
    path.write_text(small.text(objective={"gamma_r1": 0.0, "gamma_r2": 0.0}))
    assert main(["train", str(path), "--dry-run"]) == 0
    shown = capsys.readouterr().err
    assert shown.index('warning: [objective] of kind "relativistic"') < shown.index("one step of")
