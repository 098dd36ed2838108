"""Tables, targets and plots, from rows that stand for a run."""

import importlib.metadata
from pathlib import Path

import pytest

from benchmarks import results
from benchmarks.report import plots, report, tables, targets
from benchmarks.results import Row
from benchmarks.workplace import RESULTS
from service import __version__

CEILING: Row = {"contender": "ceiling onnxruntime", "backend": "onnxruntime", "foreign_cores": 0.0, "quiet": True}
SERVED: Row = {"loop": "closed", "answer": "npy", "generator_cores": 0.0, "foreign_cores": 0.0, "quiet": True}


def closed(contender: str, n: int, connections: int, rates: list[float], p99_s: float = 0.01) -> list[Row]:
    """A cell of `g28` in two rounds."""
    cell: Row = {"network": "g28", "contender": contender, "n": n, "connections": connections, "p99_s": p99_s}
    return [{**SERVED, **cell, "round": turn, "samples_per_s": rate} for turn, rate in enumerate(rates)]


def opened(contender: str, share: float, *, kept: bool) -> Row:
    times: Row = {"p50_s": 0.002, "p99_s": 0.004, "quiet": True} if kept else {}
    return {"network": "g28", "contender": contender, "loop": "open", "rate_share": share, "kept": kept, **times}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a run in which we are at 96 % of the ceiling, and mosec at 80."""
    rows: list[Row] = [{**CEILING, "network": "g28", "round": turn, "samples_per_s": 1000.0} for turn in (0, 1)]
    rows += closed("ganymede", 1, 64, [920, 940]) + closed("ganymede", 16, 16, [950, 970])
    rows += closed("mosec", 1, 64, [800, 800], p99_s=0.02) + closed("mosec", 16, 16, [700, 700])
    rows += [opened("ganymede", share, kept=True) for share in (0.5, 0.8)]
    rows += [opened("mosec", 0.5, kept=True), opened("mosec", 0.8, kept=False)]
    results.write("serving", {"peers": {"mosec": {"mosec": "1"}}}, rows, tmp_path)
    return tmp_path


def test_a_result_states_the_version_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable installation states the version at which it was made."""
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "0.0.1")
    assert results.describe()["versions"] == dict.fromkeys(results.PACKAGES, "0.0.1") | {"ganymede-gan": __version__}


@pytest.mark.parametrize("name", report.WRITERS)
def test_every_table_can_be_written_before_anything_was_measured(name: str, tmp_path: Path) -> None:
    assert list(report.WRITERS[name](tmp_path))


def test_the_share_of_the_ceiling_is_of_the_same_round(folder: Path) -> None:
    lines = list(tables.saturation(folder))
    ours = next(line for line in lines if "| ganymede |" in line)
    assert "| 960 (950–970) | 96 (95–97) % |" in ours


def test_a_figure_beside_foreign_load_is_marked(folder: Path) -> None:
    rows = results.read("serving", folder).rows
    for row in rows:
        if row.get("contender") == "mosec":
            row["quiet"] = False
    results.write("serving", {"peers": {}}, rows, folder)
    lines = list(tables.saturation(folder))
    assert [line.split(" | ")[1] for line in lines if "†" in line] == ["mosec"]


def test_a_server_that_does_not_keep_a_rate_is_told(folder: Path) -> None:
    mosec = next(line for line in tables.rates(folder) if line.startswith("| mosec"))
    assert mosec.endswith("| does not keep the rate |")


def test_a_target_is_met_missed_or_not_measured(folder: Path) -> None:
    lines = list(targets.lines(folder))
    verdicts = {line.split(" | ")[0].removeprefix("| "): line.rsplit(" | ", 1)[1].removesuffix(" |") for line in lines}
    assert verdicts["n = 16 at saturation, `g28`, of the ceiling"] == "yes"
    assert verdicts["n = 1, 64 connections, `g28`, of the ceiling"] == "yes"
    assert verdicts["n = 16 at saturation, `g64`, of the ceiling"] == "not measured"
    rows = results.read("serving", folder).rows
    for row in rows:
        if row.get("contender") == "ganymede" and row["loop"] == "closed":
            row["samples_per_s"] = 500.0
    results.write("serving", {"peers": {}}, rows, folder)
    assert any("**no**" in line and "`g28`" in line for line in targets.lines(folder))


def test_only_what_stands_between_marks_is_written(folder: Path) -> None:
    page = "before\n<!-- table: rates -->\nold\n<!-- end of table -->\nafter\n"
    filled = report.fill(page, folder)
    assert filled.startswith("before\n<!-- table: rates -->\n\n| server |")
    assert filled.endswith("\n<!-- end of table -->\nafter\n")
    assert "old" not in filled
    assert report.fill(filled, folder) == filled


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    filled = report.fill("<!-- table: crowds -->\n<!-- end of table -->", tmp_path)
    assert filled == "<!-- table: crowds -->\n\n*Not measured so far.*\n\n<!-- end of table -->"


def test_a_mark_that_names_no_table_is_refused(folder: Path) -> None:
    with pytest.raises(KeyError):
        report.fill("<!-- table: nothing -->\n<!-- end of table -->", folder)


@pytest.mark.parametrize("path", report.PAGES, ids=lambda path: path.name)
def test_a_page_shows_the_results_as_they_are(path: Path) -> None:
    page = path.read_text(encoding="utf-8")
    assert report.fill(page, RESULTS) == page, "run `python -m benchmarks report`"


def test_the_plots_are_the_same_bytes_every_time(folder: Path) -> None:
    first = [path.read_bytes() for path in plots.draw(folder)]
    assert len(first) == 2
    assert [path.read_bytes() for path in plots.draw(folder)] == first


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert list(plots.draw(tmp_path)) == []
