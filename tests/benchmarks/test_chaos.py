"""Chaos tells what a fault cost, and a fault that is not survived as it must be is told as a problem."""

from pathlib import Path

import pytest

from benchmarks.trust.chaos import measure
from benchmarks.trust.faults import FAULTS, Fault, failing_run


@pytest.mark.slow
def test_a_session_that_raises_costs_its_request_and_nothing_else(tmp_path: Path) -> None:
    row = measure("raises", FAULTS["raises"], tmp_path)
    assert row["problem"] is None
    assert row["lost"] == "the request of that run: 500"
    assert (row["others_wrong"], row["others_refused"], row["others_lost"]) == (0, 0, 0)
    assert isinstance(row["healthy_s"], float)


@pytest.mark.slow
def test_a_fault_that_is_answered_otherwise_than_it_must_be_is_a_problem(tmp_path: Path) -> None:
    harmless = Fault(words="nothing fails", inject=failing_run("nothing", 500))
    assert measure("harmless", harmless, tmp_path)["problem"] == "the request of that run: 200, not 500"
