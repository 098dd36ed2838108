"""Diagnosis: each way to fail is named in words with what to try, and a healthy run is not worried about."""

import dataclasses

import pytest

from tests.training.diagnostics.records import record
from training import config as configuration
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.finding import Record
from training.diagnostics.history import Event
from training.diagnostics.memorisation import Memorisation

COLLAPSE = Event(640, "collapse", "the generator has collapsed: 2 of 10 modes are drawn")
RECOVERY = Event(900, "recovery", "the collapse is over: variety is back")
ROLLBACK = Event(320, "rollback", "critic/total became nan at sample 400; back to sample 320")


def sure_critic(kind: str) -> Record:
    """A run whose critic has won."""
    return record(
        objective={"kind": kind},
        gradient_minimax=1e-4,
        gradient_non_saturating=5.0,
        sure_share=0.98,
        paired_accuracy=1.0,
    )


CASES: dict[str, tuple[Record, list[str]]] = {
    "a healthy run": (record(), ["healthy"]),
    "a run that is not over": (record(seen=640), ["healthy", "unfinished"]),
    "minimax with a sure critic": (sure_critic("minimax"), ["saturation"]),
    "a sure critic of another loss": (sure_critic("non_saturating"), ["outplayed"]),
    "a critic that pairs cannot fool": (record(paired_accuracy=1.0), ["outplayed"]),
    "a Wasserstein critic that separates": (
        record(objective={"kind": "wasserstein"}, paired_accuracy=1.0),
        ["healthy"],
    ),
    "an alarm that is on": (record(events=[COLLAPSE]), ["collapse"]),
    "an alarm that is off again": (record(events=[COLLAPSE, RECOVERY]), ["healthy"]),
    "modes that are never drawn": (record(modes=7.0), ["missing"]),
    "a generator far from its average": (record(unrest=0.4), ["oscillation"]),
    "copies of the training set": (record(memorisation=Memorisation(0.1, 3.0, 0.8)), ["memorised"]),
    "a rollback": (record(events=[ROLLBACK]), ["diverged"]),
    "data that could not be read": (record(memorisation=None), ["healthy"]),
    "several at once": (record(modes=3.0, unrest=0.5, events=[COLLAPSE]), ["collapse", "missing", "oscillation"]),
}


@pytest.mark.parametrize(("run", "names"), CASES.values(), ids=CASES.keys())
def test_what_a_run_suffers_from_is_named(run: Record, names: list[str]) -> None:
    assert [finding.name for finding in diagnose(run)] == names


def test_a_run_without_measurements_says_so() -> None:
    bare = dataclasses.replace(record(), rows=[{"samples": 160.0, "critic/total": 0.5}])
    assert [finding.name for finding in diagnose(bare)] == ["unmeasured"]


def test_a_bad_beginning_is_forgiven() -> None:
    late = record()
    rows = [{**row, "theory/modes": 1.0} for row in late.rows[:6]] + list(late.rows[6:])
    assert [finding.name for finding in diagnose(dataclasses.replace(late, rows=rows))] == ["healthy"]


def test_the_words_hold_the_numbers_that_were_seen() -> None:
    (saturation,) = diagnose(sure_critic("minimax"))
    assert "sure of 98% of its answers" in saturation.words
    assert "log(1 - D) has the norm 1.0e-04, that of -log D 5.0e+00" in saturation.words
    (missing,) = diagnose(record(modes=7.0))
    assert "7 modes are drawn on average, where as many real samples show 10" in missing.words


@pytest.mark.parametrize("run", [case[0] for case in CASES.values()], ids=CASES.keys())
def test_every_key_that_is_advised_exists(run: Record) -> None:
    tables = configuration.to_tables(run.config)
    for finding in diagnose(run):
        for attempt in finding.tries:
            section = attempt.partition("[")[2].partition("]")[0]
            assert section in ("", *configuration.SECTIONS, *tables), attempt
