"""Runs of known cause: what they suffer from is named, and what they do not suffer from is not.

The records are those of real trainings, kept in `known_runs.json`; some are trained again.
"""

from pathlib import Path
from typing import get_args

import pytest

from tests.training.diagnostics.known_runs import KNOWN, from_plain, kept, train
from training.diagnostics.advice import Name
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.report import examine

RECORDS = kept()


@pytest.mark.parametrize("name", RECORDS)
def test_the_cause_of_a_known_run_is_named_first(name: str) -> None:
    known = KNOWN[name.rpartition("-")[0]]
    first, *rest = [finding.name for finding in diagnose(from_plain(RECORDS[name]))]
    assert first in known.named, (known.cause, first, rest)


def test_no_run_but_the_healthy_ones_is_called_healthy() -> None:
    for name, plain in RECORDS.items():
        names = [finding.name for finding in diagnose(from_plain(plain))]
        assert ("healthy" in names) == name.startswith("healthy"), (name, names)


def test_rates_that_are_too_high_are_advised_against_first() -> None:
    for name, plain in RECORDS.items():
        if name.startswith("rates"):
            first = diagnose(from_plain(plain))[0]
            assert "learning_rate" in first.tries[0], (name, first.tries)


def test_every_kind_of_fault_is_among_the_known_runs() -> None:
    found = {finding.name for plain in RECORDS.values() for finding in diagnose(from_plain(plain))}
    assert found >= set(get_args(Name)) - {"unmeasured", "inconclusive"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["young-digits", "young-ring", "saturated-digits", "stalled-digits-rate", "diverged-digits-nan"]
)
def test_a_run_that_is_trained_again_is_named_as_the_record_is(name: str, tmp_path: Path) -> None:
    record, _ = examine(train(name, 0, tmp_path))
    assert diagnose(record)[0].name in KNOWN[name].named
