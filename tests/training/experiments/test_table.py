"""The table: from results alone, the same in the documentation and on the terminal."""

from pathlib import Path

import pytest

from tests.training.experiments.coins import COIN, unheard
from training.experiments import EXPERIMENTS, table
from training.experiments.results import Row, published
from training.experiments.runner import reproduce

RESULTS = Path(__file__).parents[3] / "docs/results.md"


@pytest.fixture
def row(tmp_path: Path) -> Row:
    return reproduce(COIN, range(3), tmp_path, None, unheard)


def test_a_row_shows_what_was_asked_measured_and_met(row: Row) -> None:
    line = table.markdown([row]).splitlines()[2]
    assert line == (
        "| `coin` | a coin | heads 10 (0 to 20)<br>edge 0.125 (0.125 to 0.125) "
        "| heads ≥ 5<br>heads ≤ 15 in every seed | yes<br>**no** | Bernoulli (1713): half |"
    )


def test_below_the_table_stands_how_each_row_was_measured(row: Row) -> None:
    last = table.markdown([row]).splitlines()[-1]
    assert last.startswith("- `coin`: Ten tosses. 3 seeds of 0.0 minutes on ")
    assert last.endswith("`python -m training reproduce coin`")


def test_a_printed_row_says_whether_each_target_is_met(row: Row) -> None:
    lines = table.printed(row)
    assert lines[0] == "coin: a coin, 3 seeds"
    assert "  heads ≥ 5: met by heads 10 (0 to 20)" in lines
    assert "  heads ≤ 15 in every seed: NOT met by heads 10 (0 to 20)" in lines
    assert "  beside it: edge 0.125 (0.125 to 0.125)" in lines
    assert "  paper: Bernoulli (1713): half" in lines


def test_the_table_of_the_results_is_the_published_one() -> None:
    rows = published()
    assert table.markdown([rows[name] for name in EXPERIMENTS if name in rows]) in RESULTS.read_text()
