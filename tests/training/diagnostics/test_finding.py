"""A run's record: what it has come to is its last third."""

import pytest

from tests.training.diagnostics.records import record


def test_the_last_third_of_the_measurements_counts() -> None:
    run = record()
    for row, diversity in zip(run.rows, (*[9.0] * 7, 0.1, 0.2, 0.3), strict=True):
        row["theory/diversity"] = diversity
    assert run.last("diversity") == pytest.approx(0.2)


def test_what_was_never_measured_is_none() -> None:
    assert record().last("tv_bound") is None
