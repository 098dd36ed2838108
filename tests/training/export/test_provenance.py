"""Provenance: the commit of the code, and no path of this machine."""

import subprocess
from pathlib import Path

import pytest

from tests.support import small
from tests.support.serving import ROOT
from training import config as configuration
from training.export.provenance import commit, portable


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    answer = subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def checkout(folder: Path) -> Path:
    """A repository with one commit and the code one level below its top."""
    code = folder / "code"
    code.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (code / "file.py").write_text("one")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "first")
    return code


def test_clean_code_has_the_commit_of_its_checkout(tmp_path: Path) -> None:
    code = checkout(tmp_path)
    assert commit(code) == git(tmp_path, "rev-parse", "HEAD")


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="these sources are no checkout")
def test_the_code_that_runs_has_the_commit_of_this_checkout() -> None:
    assert (commit() or "").removesuffix("-dirty") == git(ROOT, "rev-parse", "HEAD")


def test_changed_or_new_code_is_called_dirty_and_other_files_do_not_matter(tmp_path: Path) -> None:
    code = checkout(tmp_path)
    (tmp_path / "runs").write_text("not code")
    assert commit(code) == git(tmp_path, "rev-parse", "HEAD")
    (code / "new.py").write_text("two")
    assert commit(code) == f"{git(tmp_path, 'rev-parse', 'HEAD')}-dirty"


def test_code_outside_a_checkout_of_its_own_has_no_commit(tmp_path: Path) -> None:
    assert commit(tmp_path) is None
    code = checkout(tmp_path)
    installed = code / "site-packages" / "training"
    installed.mkdir(parents=True)
    assert commit(installed) is None


def test_a_checkout_without_a_commit_has_none(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "code").mkdir()
    assert commit(tmp_path / "code") is None


def test_a_portable_configuration_forgets_where_the_data_lies_and_nothing_else() -> None:
    config = small.config(data={"kind": "mnist", "path": "/home/somebody/data"})
    assert "somebody" not in configuration.dumps(portable(config))
    assert configuration.sha256(portable(config)) == configuration.sha256(config)
    assert portable(small.config()) == small.config()


def test_who_trains_again_by_the_card_needs_no_tracker() -> None:
    followed = small.config(trainer={"trackers": ["wandb", "mlflow"]})
    assert portable(followed).trainer.trackers == ("tensorboard",)
    assert configuration.sha256(portable(followed)) == configuration.sha256(followed)
