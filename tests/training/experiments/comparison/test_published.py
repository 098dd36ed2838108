"""The published comparison: complete, and the page's own."""

from pathlib import Path
from typing import Final

import pytest

from training.experiments.comparison import cost, page, play
from training.experiments.comparison.games import GAMES
from training.experiments.comparison.play import SEEDS
from training.experiments.results import Row

ROOT: Final = Path(__file__).parents[4]
PAGE: Final = ROOT / "docs/comparison.md"
IMAGES: Final = ROOT / "docs/images/comparison"


@pytest.fixture(scope="module")
def rows() -> dict[str, Row]:
    return page.rows()


def test_every_game_has_every_seed(rows: dict[str, Row]) -> None:
    assert {name: len(row.seeds) for name, row in rows.items()} == dict.fromkeys(GAMES, SEEDS)


def test_the_page_has_the_tables_of_the_results(rows: dict[str, Row]) -> None:
    assert page.markdown(rows, cost.read(page.FOLDER), play.read_tuning(page.FOLDER)) in PAGE.read_text(
        encoding="utf-8"
    )


@pytest.mark.parametrize("name", GAMES)
def test_every_game_has_its_grid_on_the_page(name: str) -> None:
    assert (IMAGES / f"{name}.png").is_file()
    assert f"images/comparison/{name}.png" in PAGE.read_text(encoding="utf-8")


def test_the_plots_are_redrawn_from_the_results(rows: dict[str, Row], tmp_path: Path) -> None:
    for drawn in page.draw(rows, cost.read(page.FOLDER), tmp_path):
        text = drawn.read_text(encoding="utf-8")
        assert text.count("<path") > len(rows)
        assert (IMAGES / drawn.name).is_file()


def test_findings_say_in_how_many_seeds(rows: dict[str, Row]) -> None:
    row = next(iter(rows.values()))
    count = len(row.seeds)
    told = page._findings(row)
    assert told
    assert all("(" not in name or int(name.split("(")[1].split(" ")[0]) < count for name in told)
