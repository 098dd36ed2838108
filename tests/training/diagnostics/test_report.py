"""The report and the commands that write it, on a run of seconds: complete in itself, and right about the run."""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from tests.support import small
from tests.training.diagnostics.records import record
from training.cli import main
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.report import page
from training.loop import run


def ignore(_line: str) -> None:
    """Read nothing of what a run says."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report") / "run"
    run.start(small.config(), folder, ignore)
    return folder


def test_a_run_that_ends_leaves_a_page_that_needs_nothing_else(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    sources = re.findall(r"(?:src|href)=['\"]([^'\"]*)", text)
    assert len([source for source in sources if source.startswith("data:image/png;base64,")]) == 2
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert "http" not in text
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_holds_charts_samples_and_the_configuration(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    assert text.count("<svg ") >= 6
    assert "sample 1,280" in text
    assert "kind = &quot;relativistic&quot;" in text


def test_every_link_leads_to_a_chart_on_the_page(finished: Path) -> None:
    text = (finished / "report.html").read_text()
    for target in re.findall(r"href='#([^']*)'", text):
        assert f"id='{target}'" in text


def test_the_page_follows_light_and_dark_mode(finished: Path) -> None:
    assert "prefers-color-scheme: dark" in (finished / "report.html").read_text()


def test_a_name_is_text_and_never_markup(tmp_path: Path) -> None:
    odd = record()
    odd = dataclasses.replace(odd, config=dataclasses.replace(odd.config, name="<script>alert(1)</script>"))
    assert "<script>" not in page(tmp_path, odd, diagnose(odd), None)


def test_diagnose_says_what_was_found_and_where_to_look(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(finished)]) == 0
    shown = capsys.readouterr().out
    assert f"{finished / 'report.html'}#" in shown


def test_diagnose_answers_programs_in_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(finished), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["report"] == str(finished / "report.html")
    assert {"name", "words", "tries", "chart"} == set(answer["findings"][0])


def test_report_writes_the_page_again(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (finished / "report.html").unlink()
    assert main(["report", str(finished)]) == 0
    assert capsys.readouterr().out == f"{finished / 'report.html'}\n"
    assert (finished / "report.html").is_file()


def test_a_run_whose_data_is_gone_is_diagnosed_all_the_same(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = finished / "config.toml"
    before = moved.read_text()
    assert main(["diagnose", str(finished), "--data-path", "nowhere"]) == 0
    assert "Not compared with the data: [data] of kind &quot;digits&quot;" in (finished / "report.html").read_text()
    assert moved.read_text() == before
    assert capsys.readouterr().err == ""


def test_a_folder_without_a_run_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diagnose", str(tmp_path)]) == 2
    assert capsys.readouterr().err == f"{tmp_path} holds no run; a run starts with `python -m training train`\n"


def test_a_saturated_run_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = small.config(
        objective={"kind": "minimax"},
        trainer={"learning_rate_discriminator": 1e-2, "learning_rate_generator": 1e-5, "critic_steps": 2},
    )
    run.start(config, tmp_path / "run", ignore)
    assert main(["diagnose", str(tmp_path / "run")]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("saturation: The critic is sure of ")
    assert '    try  [objective] kind = "non_saturating"' in shown
    assert "report.html#gradients" in shown
