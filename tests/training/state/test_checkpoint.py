"""Checkpoints: kept, found, read without running code, and refused with a way on."""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from tests.support import small
from training import config as configuration
from training import data
from training.data import DigitsConfig
from training.errors import CheckpointError
from training.loop.trainer import Trainer
from training.state import checkpoint

DIGITS = data.load(DigitsConfig())


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / checkpoint.CONFIG_NAME).write_text(configuration.dumps(small.config()))
    return tmp_path


@pytest.fixture
def trainer() -> Trainer:
    trainer = Trainer(small.config(), DIGITS)
    trainer.step()
    return trainer


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """The system's own refusal to write more, on a small scale."""
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)


def test_the_two_newest_are_kept(run: Path, trainer: Trainer) -> None:
    paths = []
    for _ in range(3):
        paths.append(checkpoint.save(run, trainer.checkpoint()))
        trainer.step()
    assert sorted((run / "checkpoints").iterdir()) == paths[1:]
    assert checkpoint.latest(run) == paths[2]


def test_what_is_read_is_what_was_saved(run: Path, trainer: Trainer) -> None:
    checkpoint.save(run, trainer.checkpoint())
    state = checkpoint.read(run)["state"]
    assert state["samples_seen"] == 16
    for name, weight in trainer.players.generator_side.state_dict().items():
        assert torch.equal(state["generator_side"][name], weight)


def test_a_run_loads_as_networks_ready_to_be_used(run: Path, trainer: Trainer) -> None:
    trainer.step()
    checkpoint.save(run, trainer.checkpoint())
    loaded = checkpoint.load_run(run)
    latents = torch.randn(4, 8)
    assert loaded.config == small.config()
    assert loaded.config_sha256 == configuration.sha256(small.config())
    assert (loaded.data_sha256, loaded.samples_seen) == (DIGITS.sha256, 32)
    images = loaded.generator(latents)
    assert torch.allclose(images, trainer.ema["generator"](latents), atol=1e-6)
    last = loaded.players.generator
    assert torch.allclose(last(latents), trainer.players.generator.eval()(latents), atol=1e-6)
    assert torch.allclose(loaded.discriminator(images), trainer.players.discriminator(images), atol=1e-6)
    for network in (loaded.players.generator_side, loaded.ema, loaded.players.critic_side):
        assert not network.training
        assert not any(parameter.requires_grad for parameter in network.parameters())


def test_a_run_without_a_checkpoint_says_how_to_begin(run: Path) -> None:
    assert checkpoint.latest(run) is None
    with pytest.raises(CheckpointError, match="has no checkpoint; a run starts with `python -m training train`"):
        checkpoint.read(run)


@pytest.mark.parametrize("kept_bytes", [0, 100, 5_000])
def test_a_damaged_file_is_named_and_the_former_one_offered(run: Path, trainer: Trainer, kept_bytes: int) -> None:
    checkpoint.save(run, trainer.checkpoint())
    trainer.step()
    newest = checkpoint.save(run, trainer.checkpoint())
    os.truncate(newest, kept_bytes)
    with pytest.raises(CheckpointError, match=rf"{newest.name} is damaged; delete it to go on from 000000000016"):
        checkpoint.read(run)
    newest.unlink()
    assert checkpoint.read(run)["state"]["samples_seen"] == 16


class Payload:
    """Pickles into a call of `os.mkdir`."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.target),)


def test_reading_a_checkpoint_runs_no_code_from_it(run: Path) -> None:
    (run / "checkpoints").mkdir()
    torch.save({"format": 1, "state": Payload(run / "harm")}, run / "checkpoints" / "000000000001.pt")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(run)
    assert not (run / "harm").exists()


def test_a_file_of_another_format_is_refused(run: Path) -> None:
    (run / "checkpoints").mkdir()
    torch.save({"format": 99}, run / "checkpoints" / "000000000001.pt")
    with pytest.raises(CheckpointError, match="not a checkpoint of format 3"):
        checkpoint.read(run)


def test_a_changed_configuration_is_refused_with_the_key(run: Path, trainer: Trainer) -> None:
    checkpoint.save(run, trainer.checkpoint())
    changed = small.config(trainer={"batch_size": 32})
    (run / checkpoint.CONFIG_NAME).write_text(configuration.dumps(changed))
    with pytest.raises(
        CheckpointError, match=r"config\.toml: \[trainer\] batch_size is 32 and was 16 when the run began"
    ):
        checkpoint.read(run)


def test_a_write_that_fails_leaves_the_last_good_one(run: Path, trainer: Trainer) -> None:
    good = checkpoint.save(run, trainer.checkpoint())
    trainer.step()
    with largest_file(good.stat().st_size // 2), pytest.raises(CheckpointError) as caught:
        checkpoint.save(run, trainer.checkpoint())
    assert "000000000032.pt: File too large" in str(caught.value)
    assert f"{good} is complete" in str(caught.value)
    assert list((run / "checkpoints").iterdir()) == [good]
    assert checkpoint.read(run)["state"]["samples_seen"] == 16
