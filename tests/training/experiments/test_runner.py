"""The runner: seeds run once, kept, read back, and summed up into a row."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.experiments.coins import COIN, unheard
from training.cli import main
from training.errors import CheckpointError, ConfigError, DataError
from training.experiments.base import Experiment, Metrics, Setting
from training.experiments.runner import find, reproduce


def test_every_seed_runs_in_a_folder_of_its_own_and_makes_one_row(tmp_path: Path) -> None:
    row = reproduce(COIN, range(3), tmp_path, None, unheard)
    assert [(result.seed, result.metrics["heads"]) for result in row.seeds] == [(0, 0.0), (1, 10.0), (2, 20.0)]
    assert row.summary("heads").median == 10
    assert [path.name for path in sorted((tmp_path / "coin").iterdir())] == ["seed-0", "seed-1", "seed-2"]


def test_the_row_says_what_was_asked_and_how_it_was_come_by(tmp_path: Path) -> None:
    reproduce(COIN, range(3), tmp_path, None, unheard)
    row = json.loads((tmp_path / "coin.json").read_text())
    assert row["targets"][0] == {"metric": "heads", "bound": "at_least", "value": 5, "over": "median", "met": True}
    assert row["summary"]["heads"] == {"median": 10, "mean": 10, "standard_deviation": 10, "min": 0, "max": 20}
    origin = row["seeds"][2]["origin"]
    assert {"processor", "threads", "accelerator", "python", "torch", "onnxruntime", "commit"} <= set(origin)
    assert row["seeds"][2]["seconds"] >= 0


def test_a_finished_seed_is_read_back(tmp_path: Path) -> None:
    said: list[str] = []
    reproduce(COIN, range(2), tmp_path, None, unheard)
    row = reproduce(replace(COIN, run=refuse), range(2), tmp_path, None, said.append)
    assert len(row.seeds) == 2
    assert said == [f"coin, seed {seed}: read back from {tmp_path}/coin/seed-{seed}" for seed in range(2)]


def test_processes_that_share_a_row_add_up(tmp_path: Path) -> None:
    reproduce(COIN, [4], tmp_path, None, unheard)
    assert [result.seed for result in reproduce(COIN, [2], tmp_path, None, unheard).seeds] == [2, 4]


def test_seeds_before_one_that_fails_are_kept(tmp_path: Path) -> None:
    def run(setting: Setting) -> Metrics:
        return COIN.run(setting) if setting.seed == 0 else refuse(setting)

    with pytest.raises(DataError, match="rolled away"):
        reproduce(replace(COIN, run=run), range(2), tmp_path, None, unheard)
    assert [result.seed for result in reproduce(COIN, [0], tmp_path, None, unheard).seeds] == [0]


def test_results_of_another_protocol_are_not_mixed_with_these(tmp_path: Path) -> None:
    reproduce(COIN, [0], tmp_path, None, unheard)
    with pytest.raises(CheckpointError, match=r"coin\.json holds results of another protocol; choose another --out"):
        reproduce(replace(COIN, protocol="Two tosses."), [1], tmp_path, None, unheard)


def test_an_experiment_is_told_its_seed_and_the_place_of_the_data(tmp_path: Path) -> None:
    told: list[Setting] = []

    def run(setting: Setting) -> Metrics:
        told.append(setting)
        return {"heads": 1.0, "edge": 0.0}

    reproduce(replace(COIN, run=run), [7], tmp_path, "elsewhere", unheard)
    assert [(setting.seed, setting.data_path, setting.folder.is_dir()) for setting in told] == [(7, "elsewhere", True)]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot make"):
        reproduce(COIN, [0], tmp_path / "file", None, unheard)


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    experiments: dict[str, Experiment] = {"coin": COIN}
    assert find("coin", experiments) is COIN
    with pytest.raises(ConfigError, match='no experiment cion; did you mean "coin"'):
        find("cion", experiments)


def test_the_command_lists_what_there_is_and_refuses_what_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "--list"]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    assert "ring " in output
    assert "high quality ≥ 0.95 in every seed" in output
    assert main(["reproduce", "rink"]) == 2
    assert capsys.readouterr().err == 'there is no experiment rink; did you mean "ring"?\n'
    assert main(["reproduce", "ring", "--seeds", "0"]) == 2
    assert "reproduce needs at least one seed" in capsys.readouterr().err


def refuse(_setting: Setting) -> Metrics:
    """A seed that fails."""
    raise DataError("the coin rolled away")
