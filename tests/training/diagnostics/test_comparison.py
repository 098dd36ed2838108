"""Runs side by side on one page, and the film of each: complete in itself, right about the runs, sortable."""

import json
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageSequence

from tests.support import small
from tests.support.browser import CHROMIUM, chromium, watched
from training.cli import main
from training.diagnostics import film
from training.loop import run
from training.tables import Value

ODD = "ring <b>&'\" %20"  # as a folder may be called


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


def count(moving: Image.Image) -> int:
    return len(list(ImageSequence.Iterator(moving)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs that differ in a learning rate, one of vectors below, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("compared") / "runs"
    shorter: dict[str, Value] = {"total_samples": 640}
    run.start(small.config(trainer=shorter), folder / "slow", ignore)
    shutil.copytree(folder / "slow", folder / "fast")  # stands for a second run, in a fraction of its time
    config = folder / "fast" / "config.toml"
    written = config.stat().st_mtime_ns
    config.write_text(config.read_text().replace("learning_rate_generator = 0.001", "learning_rate_generator = 0.002"))
    os.utime(config, ns=(written, written))
    ring = small.config(
        data={"kind": "ring"},
        generator={"kind": "mlp", "latent_size": 2, "widths": [8]},
        discriminator={"kind": "mlp", "widths": [8]},
        trainer=shorter,
    )
    run.start(ring, folder / "below" / ODD, ignore)
    (folder / "broken").mkdir()
    (folder / "broken" / "config.toml").write_text('name = "x"')
    return folder


@pytest.fixture(scope="module")
def page(runs: Path) -> str:
    assert main(["report", str(runs / "slow"), str(runs / "fast"), "--out", str(runs / "two.html")]) == 0
    return (runs / "two.html").read_text()


def test_a_folder_of_runs_is_compared_and_what_cannot_be_read_is_named(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(runs), "--json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    assert found["report"] == str(runs / "comparison.html")
    assert [entry["run"] for entry in found["runs"]] == [str(runs / name) for name in (f"below/{ODD}", "fast", "slow")]
    assert list(found["unread"]) == [str(runs / "broken")]
    assert f"left out: {runs / 'broken'}: " not in shown.out
    assert 'lacks the key "kind"' in shown.err
    for entry in found["runs"]:
        assert entry["samples"] == entry["total_samples"] == 640
        assert 0 < entry["seconds"] < 300
        assert entry["findings"]
        assert 0 <= entry["metrics"]["told_apart"] <= 1


def test_the_page_shows_only_the_keys_that_differ(page: str) -> None:
    assert page.count("trainer learning_rate_generator") == 1
    assert "learning_rate_discriminator" not in page
    assert "data-value='0.002'" in page


def test_the_page_needs_nothing_else_and_leads_to_each_report(page: str, runs: Path) -> None:
    addresses = [part.split("'")[0] for word in ("src='", "href='") for part in page.split(word)[1:]]
    links = [address for address in addresses if not address.startswith("data:")]
    assert sorted(links) == ["fast/film.gif", "fast/report.html", "slow/film.gif", "slow/report.html"]
    assert all((runs / link).is_file() for link in links)
    assert "http" not in page


def test_curves_of_both_runs_stand_in_one_chart(page: str) -> None:
    charts = page.split("<figure id='")[1:]
    assert len(charts) >= 6
    assert all(chart.count("<polyline") == 2 for chart in charts)
    assert any("<h3>Losses: critic" in chart for chart in charts)


def test_a_report_is_made_again_only_where_the_run_went_on(runs: Path) -> None:
    facts = runs / "slow" / "report.json"
    before = facts.stat().st_mtime_ns
    assert main(["report", str(runs / "slow"), str(runs / "fast")]) == 0
    assert facts.stat().st_mtime_ns == before
    later = before + 1_000_000_000
    os.utime(runs / "slow" / "metrics.jsonl", ns=(later, later))
    os.utime(facts, ns=(before, before))
    assert main(["report", str(runs / "slow"), str(runs / "fast")]) == 0
    assert facts.stat().st_mtime_ns > before


def test_a_folder_without_runs_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path} holds no run; a run starts with `python -m training train`\n"


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_the_table_is_sorted_by_a_click_and_a_run_can_be_hidden(runs: Path, tmp_path: Path) -> None:
    assert main(["report", str(runs)]) == 0
    moved = tmp_path / "elsewhere.html"
    shutil.copy(runs / "comparison.html", moved)
    with chromium() as browser, watched(browser.new_context(), "file://") as shown:
        shown.goto(moved.as_uri())
        first = shown.locator("tbody tr td:first-child")
        assert first.all_inner_texts() == [f"below/{ODD}", "fast", "slow"]
        button = shown.get_by_role("button", name="trainer learning_rate_generator")
        button.click()
        assert first.all_inner_texts()[-1] == "fast"
        button.click()
        assert first.all_inner_texts()[0] == "fast"
        assert shown.locator("svg [data-run='1']").first.is_visible()
        shown.get_by_label("fast").uncheck()
        assert not shown.locator("svg [data-run='1']").first.is_visible()


def test_a_run_keeps_frames_from_its_first_steps_and_a_film_of_them(runs: Path) -> None:
    for folder in (runs / "slow", runs / "below" / ODD):
        kept = film.frames(folder)
        times = [int(path.stem) for path in kept]
        assert (times[0], times[-1]) == (16, 640)
        assert 20 < len(times) <= film.FRAMES
        assert times[5] - times[0] < times[-1] - times[-6]
        with Image.open(folder / "film.gif") as moving:
            assert count(moving) > 10
            assert moving.info["loop"] == 0
            assert max(moving.size) <= film.FRAME_SIDE + film.STRIP


def test_a_film_never_grows_beyond_its_limit(tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number in range(1, 17):
        noise = Image.effect_noise((400, 400), 100).convert("RGB")
        noise.putalpha(200)
        noise.save(tmp_path / "frames" / f"{number:012d}.png")
    path = film.write(tmp_path)
    assert path is not None
    assert path.stat().st_size <= film.MOST_BYTES
    with Image.open(path) as moving:
        moving.seek(count(moving) - 1)
        assert moving.info["duration"] == film.LAST_MS


def test_a_run_that_kept_no_frames_has_a_film_of_its_grids(tmp_path: Path) -> None:
    (tmp_path / "grids").mkdir()
    assert film.write(tmp_path) is None
    for number, shade in ((64_000, 0), (128_000, 255)):
        Image.new("L", (16, 16), shade).save(tmp_path / "grids" / f"{number:012d}.png")
    whole = (tmp_path / "grids" / f"{128_000:012d}.png").read_bytes()
    (tmp_path / "grids" / f"{192_000:012d}.png").write_bytes(whole[:-20])  # cut off with its process
    (tmp_path / "grids" / "mine.png").write_bytes(whole)
    path = film.write(tmp_path)
    assert path is not None
    with Image.open(path) as moving:
        assert count(moving) == 2
