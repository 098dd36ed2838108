"""Results as files: written, read back as the equal value, and refused in words when they are damaged."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.experiments.coins import COIN, unheard
from training.errors import DataError
from training.experiments import EXPERIMENTS, studies
from training.experiments.base import Target
from training.experiments.results import SEED_FILE, Row, published, read_row, read_seed, write_row
from training.experiments.runner import reproduce


@pytest.fixture
def row(tmp_path: Path) -> Row:
    return reproduce(COIN, range(3), tmp_path, None, unheard)


def test_a_row_reads_back_as_the_equal_value(row: Row, tmp_path: Path) -> None:
    write_row(tmp_path / "again.json", row)
    assert read_row(tmp_path / "again.json") == row


def test_a_target_binds_the_median_or_every_seed(row: Row) -> None:
    assert [row.meets(target) for target in COIN.targets] == [True, False]  # heads 0, 10 and 20
    assert row.meets(Target(metric="heads", bound="at_most", value=20, over="every_seed"))
    assert not row.meets(Target(metric="heads", bound="at_most", value=9.99))


def test_what_is_no_number_meets_no_target() -> None:
    assert not Target(metric="heads", bound="at_most", value=5).met_by([math.nan])
    assert not Target(metric="heads", bound="at_least", value=5).met_by([math.nan])


def test_a_single_seed_has_no_deviation(row: Row) -> None:
    assert replace(row, seeds=row.seeds[:1]).summary("heads").standard_deviation == 0


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"name": "coin"}'])
def test_a_file_that_is_no_row_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "coin.json").write_text(content)
    with pytest.raises(DataError, match=r"coin\.json"):
        published(tmp_path)


def test_a_damaged_seed_is_named(tmp_path: Path) -> None:
    (tmp_path / SEED_FILE).write_text('{"seed": 1}')
    with pytest.raises(DataError, match="is no seed's result"):
        read_seed(tmp_path)


@pytest.mark.parametrize("name", sorted(published()))
def test_a_published_row_is_that_of_its_experiment(name: str) -> None:
    row, experiment = published()[name], EXPERIMENTS[name]
    assert row.name == name
    assert (row.system, row.protocol, row.paper) == (experiment.system, experiment.protocol, experiment.paper)
    assert (row.targets, row.shown) == (experiment.targets, experiment.shown)
    assert [result.seed for result in row.seeds] == list(range(experiment.seeds))


def test_every_experiment_has_a_module_of_its_name() -> None:
    modules = {path.stem for path in Path(studies.__path__[0]).rglob("*.py") if path.stem != "__init__"}
    assert modules == set(EXPERIMENTS)
