"""A run that begins with the weights of another run, or of a package."""

import shutil
from pathlib import Path

import pytest
import torch

from tests.support import exported, small
from tests.support.states import same
from training import data
from training.cli import main
from training.errors import CheckpointError
from training.export.graphs import transfer
from training.loop import run
from training.loop.trainer import Trainer
from training.state import checkpoint, history
from training.tables import Value

QUIET: dict[str, Value] = {"every_samples": 0, "classifier": False}
PACE: dict[str, Value] = {"total_samples": 64, "checkpoint_every_samples": 32, "grid_every_samples": 6_400}
DIGITS = data.load(data.DigitsConfig())


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def trained(folder: Path, **changed: dict[str, Value]) -> Path:
    run.start(small.config(trainer=PACE, diagnostics=QUIET, **changed), folder, ignore)
    return folder


@pytest.fixture(scope="module")
def conditional(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ten classes."""
    return trained(tmp_path_factory.mktemp("transfer") / "conditional", generator={"conditional": True})


def test_a_run_begins_as_the_function_that_another_one_ended_as(conditional: Path) -> None:
    config = small.config(trainer=PACE, diagnostics=QUIET, generator={"conditional": True}, objective={"gamma_r1": 2.0})
    trainer, before = Trainer(config, DIGITS), checkpoint.read(conditional)
    assert transfer.begin_from(trainer, transfer.find(conditional)) == []
    state = trainer.checkpoint()["state"]
    for side in ("generator_side", "critic_side", "ema"):
        assert same(state[side], before["state"][side])
    assert state["samples_seen"] == 0
    assert state["generator_optimizer"]["state"] == {}
    (change,) = trainer.history
    assert change.event == "init"
    assert "began with the weights of run small at sample 64 (SHA-256 of its checkpoint " in change.text
    assert change.details["left_out"] == []


def test_other_classes_keep_the_trunk_and_another_size_what_does_not_depend_on_it(conditional: Path) -> None:
    trainer = Trainer(small.config(), DIGITS)  # without classes
    assert transfer.begin_from(trainer, transfer.find(conditional)) == []
    state = checkpoint.read(conditional)["state"]
    kept = trainer.players.generator.state_dict()
    assert all(torch.equal(kept[name], state["generator_side"][f"players.generator.{name}"]) for name in kept)

    wider = Trainer(small.config(generator={"widths": [16, 12, 10], "conditional": True}), DIGITS)
    left = transfer.begin_from(wider, transfer.find(conditional))
    assert all(line.startswith("generator.") for line in left)
    assert any("there and" in line and "here" in line for line in left)
    first = wider.players.generator.state_dict()["first.weight"]
    assert torch.equal(first, state["generator_side"]["players.generator.first.weight"])


def test_a_run_of_more_classes_says_which_parts_are_as_drawn(
    conditional: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "run.toml"
    path.write_text(small.text(trainer=PACE, diagnostics=QUIET, generator={"latent_size": 9, "conditional": True}))
    assert main(["train", str(path), "--init", str(conditional), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr().out
    assert "not taken: generator.first.weight: 64x8 there and 64x9 here\n" in printed
    assert "began with the weights of run small" in printed
    (event,) = history.events(tmp_path / "run")
    assert (event.samples, event.event) == (0, "init")
    # A run that is killed and resumed ends as one that was not.
    broken = Path(shutil.copytree(tmp_path / "run", tmp_path / "broken"))
    (broken / checkpoint.FOLDER / f"{64:012d}.pt").unlink()
    run.resume(broken, ignore)
    assert same(checkpoint.read(broken), checkpoint.read(tmp_path / "run"))


def test_nothing_of_the_generator_is_refused_and_so_is_what_is_neither_run_nor_package(
    conditional: Path, tmp_path: Path
) -> None:
    other = Trainer(small.config(generator={"kind": "mlp", "widths": [8]}), DIGITS)
    with pytest.raises(CheckpointError, match=r'nothing of the generator of .* generator: it is of kind "dcgan"'):
        transfer.begin_from(other, transfer.find(conditional))
    with pytest.raises(CheckpointError, match="is neither the folder of a run nor of a package's version"):
        transfer.find(tmp_path)


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return exported.package(tmp_path_factory)


def test_a_package_gives_the_samples_of_its_graph_in_either_mode(package: Path) -> None:
    origin = transfer.find(package)
    trainer = Trainer(small.config(), DIGITS)
    assert transfer.begin_from(trainer, origin) == []
    assert max(exported.apart(package).values()) < 1
    with torch.no_grad():
        many = torch.randn(2_048, 8, generator=torch.Generator().manual_seed(0))
        gap = trainer.players.generator.train()(many) - trainer.ema["generator"](many)
    assert float(gap.square().mean().sqrt()) < 0.05  # batch statistics of samples, instead of those that are kept
    assert "package small 1 (SHA-256 of its manifest" in trainer.history[0].text


def test_the_packages_that_are_shipped_are_read_back_and_those_of_items_say_why_not() -> None:
    assert "package mnist 4" in transfer.find(Path("models/mnist/4")).title
    with pytest.raises(CheckpointError, match="are over items, and their graphs do not name their weights"):
        transfer.find(Path("models/planted-items/1"))
