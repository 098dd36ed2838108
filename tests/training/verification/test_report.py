"""How findings read: columns, JSON, and the sentence of a failure."""

from training.verification.base import Finding
from training.verification.report import document, failure, table

HELD = Finding(identity="D is best", source="Goodfellow 2014", measured=0.5, expected=0.5, tolerance=1e-3)
BROKEN = Finding(identity="W1 bounds", source="WGAN", measured=2.0, expected=1.0, tolerance=0.0, relation="at_most")


def test_the_table_has_a_line_a_finding_and_counts_what_holds() -> None:
    lines = table([HELD, BROKEN])
    assert lines[1].split() == ["pass", "D", "is", "best", "Goodfellow", "2014", "0.5", "=", "0.5", "±1e-03"]
    assert lines[2].split() == ["FAIL", "W1", "bounds", "WGAN", "2", "≤", "1", "0e+00"]
    assert lines[3] == "1 of 2 identities hold"


def test_columns_are_aligned() -> None:
    header, first, second, _ = table([HELD, BROKEN])
    assert header.index("measured") == first.index("0.5") == second.index("2  ")


def test_json_carries_every_number_and_whether_it_holds() -> None:
    held, broken = document([HELD, BROKEN])
    assert (held["measured"], held["expected"], held["tolerance"], held["holds"]) == (0.5, 0.5, 1e-3, True)
    assert (broken["relation"], broken["source"], broken["holds"]) == ("at_most", "WGAN", False)


def test_a_failure_is_a_sentence_that_names_the_first() -> None:
    assert failure([HELD]) is None
    assert failure([HELD, BROKEN]) == "1 of 2 identities do not hold; the first: W1 bounds"
