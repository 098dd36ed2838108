"""Wording: findings as lines for people and as an object for programs."""

from pathlib import Path

from training.diagnostics.advice import Advice
from training.diagnostics.findings import Finding, as_text, document

REPORT = Path("run/report.html")
COLLAPSE = Finding("collapse", "It draws one point.", (Advice("", {}, "this"), Advice("", {}, "that")), "variety")
UNFINISHED = Finding("unfinished", "It is half way.")


def test_each_finding_says_what_to_try_and_where_to_look() -> None:
    assert as_text(REPORT, [COLLAPSE, UNFINISHED]) == [
        "collapse: It draws one point.",
        "    try  this",
        "    try  that",
        "    see  run/report.html#variety",
        "unfinished: It is half way.",
    ]


def test_without_a_chart_the_page_is_named() -> None:
    assert as_text(REPORT, [UNFINISHED])[-1] == "see run/report.html"


def test_programs_read_the_same() -> None:
    answer = document(REPORT, [COLLAPSE])
    assert answer["report"] == "run/report.html"
    assert answer["findings"] == [
        {"name": "collapse", "words": "It draws one point.", "tries": ["this", "that"], "chart": "variety"}
    ]
