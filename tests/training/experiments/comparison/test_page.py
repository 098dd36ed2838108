"""Tables, plots and grids of the comparison, from rows alone."""

import math
from pathlib import Path

import pytest
from PIL import Image

from training.experiments.comparison import cost, page, play
from training.experiments.comparison.play import CURVE
from training.experiments.results import Row, SeedResult, write_row

FIGURES = dict.fromkeys((*page.SHOWN, "calibration_error", "area_under_curve"), 0.5) | {"learning_rate": 1e-3}


def row(name: str, distances: list[float], findings: list[str]) -> Row:
    """A game with a seed for each distance; findings are those of its first seed."""
    seeds = [
        SeedResult(
            seed=seed,
            metrics=FIGURES
            | {"frechet_distance": distance, CURVE.format(640): 2 * distance, CURVE.format(1_280): distance}
            | (dict.fromkeys((f"finding_{each}" for each in findings), 1.0) if seed == 0 else {"finding_healthy": 1.0}),
            seconds=1.0,
            origin={},
        )
        for seed, distance in enumerate(distances)
    ]
    return Row(name=name, system=name, protocol="", paper="", targets=(), shown=(), seeds=tuple(seeds))


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, Row]:
    for each in (row("minimax", [9.0, 7.0, 8.0], ["collapse"]), row("hinge", [3.0, 2.0, 40.0], ["healthy"])):
        write_row(tmp_path / f"{each.name}.json", each)
    return page.rows(tmp_path)


def test_the_best_median_comes_first(rows: dict[str, Row]) -> None:
    assert list(rows) == ["hinge", "minimax"]


def test_a_cell_has_the_median_and_the_ends_of_the_seeds(rows: dict[str, Row]) -> None:
    tried = {"hinge": {1e-3: 4.0, 3e-3: math.inf, 3e-4: 7.0}, "minimax": {1e-3: 9.0}}
    table = page.markdown(rows, {"hinge": 10.0, "minimax": 20.0}, tried)
    assert "| hinge | 3.0 (2.0–40.0) | 0.50 |" in table
    assert f"| 20 | {20 * page.STEPS / 1_000:.0f} | collapse (1 of 3); healthy (2 of 3) |" in table
    assert "| hinge | 7.0 | **4.0** | diverged |  |" in table
    assert table.count("\n") == 14


def test_both_plots_have_every_game(rows: dict[str, Row], tmp_path: Path) -> None:
    for drawn in page.draw(rows, {"hinge": 10.0, "minimax": 20.0}, tmp_path / "images"):
        assert drawn.read_text(encoding="utf-8").count("<!-- minimax -->") == 1


def test_a_grid_is_cut_to_its_first_rows(tmp_path: Path) -> None:
    (tmp_path / "grids").mkdir()
    Image.new("L", (464, 464)).save(tmp_path / "grids/000000000640.png")
    (drawn,) = page.grids({"hinge": tmp_path, "minimax": tmp_path / "none"}, tmp_path / "images")
    with Image.open(drawn) as picture:
        assert picture.size == (464, 464 * page.GRID_ROWS // 8)


def test_costs_are_read_back_as_medians(tmp_path: Path) -> None:
    cost.write({"hinge": [1.0, 9.0, 2.0]}, {"threads": 1}, tmp_path)
    assert cost.read(tmp_path) == {"hinge": 2.0}


def test_learning_rates_are_read_back_with_the_run_that_diverged(tmp_path: Path) -> None:
    for rate, distance in ((1e-3, "7.5"), (3e-3, "inf")):
        place = tmp_path / "hinge/tuning" / f"{rate:g}"
        place.mkdir(parents=True)
        (place / "distance").write_text(f"{distance}\n")
    play.write_tuning(tmp_path)
    assert play.read_tuning(tmp_path)["hinge"] == {1e-3: 7.5, 3e-3: math.inf}
