"""Diagnosis: each way to fail is named in words with what to try, and a healthy run is not worried about."""

import dataclasses
from dataclasses import replace

import pytest

from tests.training.diagnostics.records import NEW, SOUND, record
from training.diagnostics.diagnosis import diagnose
from training.diagnostics.findings import RunRecord
from training.diagnostics.measures.inspection import CriticView
from training.state.history import Event

OVERFLOW = Event(640, "divergence", "critic/total became nan at sample 400")
COLLAPSE = Event(640, "collapse", "the generator has collapsed: 2 of 10 modes are drawn")
RECOVERY = Event(900, "recovery", "the collapse is over: variety is back")
ROLLBACK = Event(320, "rollback", "critic/total became nan at sample 400; back to sample 320")


def sure_critic(kind: str) -> RunRecord:
    """A run whose critic has won."""
    return record(
        objective={"kind": kind},
        gradient_minimax=1e-4,
        gradient_non_saturating=5.0,
        sure_share=0.98,
        paired_accuracy=1.0,
    )


def told_apart(
    *,
    near: float,
    seen: int = 64_000,
    critic: CriticView | None = None,
    paired_accuracy: float = 0.97,
    modes: float = 10.0,
) -> RunRecord:
    """A run whose samples a fresh classifier tells from real ones."""
    found = replace(
        SOUND,
        two_sample=replace(SOUND.two_sample, auc=0.999),
        memorisation=replace(NEW, near=near),
        critic=critic or CriticView(0.97, 0.55, 0.5),
    )
    return record(seen=seen, inspection=found, paired_accuracy=paired_accuracy, modes=modes)


CASES: dict[str, tuple[RunRecord, list[str]]] = {
    "a healthy run": (record(), ["healthy"]),
    "a run that is not over": (record(seen=32_000), ["healthy", "unfinished"]),
    "minimax with a sure critic": (sure_critic("minimax"), ["saturation"]),
    "a sure critic of another loss": (sure_critic("non_saturating"), ["outplayed"]),
    "a critic that pairs cannot fool": (record(paired_accuracy=1.0), ["outplayed"]),
    "a Wasserstein critic that separates": (
        record(objective={"kind": "wasserstein"}, paired_accuracy=1.0),
        ["healthy"],
    ),
    "an alarm that is on": (record(events=[COLLAPSE]), ["collapse"]),
    "an alarm for half of the modes": (record(modes=4.0, events=[COLLAPSE]), ["missing"]),
    "an alarm that is off again": (record(events=[COLLAPSE, RECOVERY]), ["healthy"]),
    "modes that are never drawn": (record(modes=7.0), ["missing"]),
    "a generator far from its average": (record(unrest=0.4), ["oscillation"]),
    "copies of the training set": (
        record(inspection=replace(SOUND, memorisation=replace(NEW, copies=0.8))),
        ["memorised"],
    ),
    "a rollback": (record(events=[ROLLBACK]), ["diverged"]),
    "data that could not be read": (record(inspection=None), ["inconclusive"]),
    "noise that a classifier gives names to": (told_apart(near=0.0), ["unlike"]),
    "samples near the data that are told apart": (told_apart(near=0.9), ["distinguishable"]),
    "samples that a fresh classifier knows in nine of ten pairs": (
        record(inspection=replace(SOUND, two_sample=replace(SOUND.two_sample, auc=0.902))),
        ["distinguishable"],
    ),
    "samples that the run's own critic knows in nine of ten pairs": (
        record(inspection=replace(SOUND, critic=CriticView(0.7, 0.55, 0.5, served=0.93))),
        ["distinguishable"],
    ),
    "samples that the run's own critic knows less often": (
        record(inspection=replace(SOUND, critic=CriticView(0.7, 0.55, 0.5, served=0.88))),
        ["healthy"],
    ),
    "noise of a run that has just begun": (told_apart(near=0.0, seen=6_400), ["young", "unlike", "unfinished"]),
    "noise whose modes are never all drawn": (told_apart(near=0.0, modes=3.0), ["unlike"]),
    "a critic that does not see the difference": (
        told_apart(near=0.0, critic=CriticView(0.5, 0.5, 0.4), paired_accuracy=0.5),
        ["weak", "unlike"],
    ),
    "a critic that says nothing": (
        told_apart(near=0.0, critic=CriticView(0.9, 0.5, 0.001), paired_accuracy=0.9),
        ["weak", "unlike"],
    ),
    "a critic that knows its training set": (
        record(inspection=replace(SOUND, critic=CriticView(0.6, 0.95, 0.5))),
        ["overfitting"],
    ),
    "a critic without a bound": (record(inspection=replace(SOUND, critic=CriticView(0.7, 0.5, 1e6))), ["diverged"]),
    "a generator that has not moved": (record(inspection=replace(SOUND, moved=1e-4)), ["stalled"]),
    "a generator with a dead layer": (record(inspection=replace(SOUND, silent_layers=1)), ["stalled"]),
    "a run that ended because its numbers overflowed": (record(events=[OVERFLOW]), ["diverged"]),
    "several at once": (record(modes=2.0, unrest=0.5, events=[COLLAPSE]), ["collapse", "oscillation", "missing"]),
}


@pytest.mark.parametrize(("run", "names"), CASES.values(), ids=CASES.keys())
def test_what_a_run_suffers_from_is_named(run: RunRecord, names: list[str]) -> None:
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


def test_modes_of_noise_are_not_counted() -> None:
    (healthy,) = diagnose(record())
    assert "10 of 10 modes are drawn" in healthy.words
    assert all("modes are drawn" not in finding.words for finding in diagnose(told_apart(near=0.0)))


def test_health_is_said_with_the_classifier_s_figure_and_its_error() -> None:
    (healthy,) = diagnose(record())
    assert "in 73.0% of pairs (standard error 2.0%; 50% is a coin)" in healthy.words


def test_a_collapse_is_told_as_it_was_and_as_it_is_at_the_end() -> None:
    few = record(events=[COLLAPSE], support=20.2, support_high=21.0)
    (collapse,) = diagnose(few)
    assert collapse.words == (
        "At sample 640 the generator has collapsed: 2 of 10 modes are drawn. At the last measurement, all 10 modes are "
        "drawn, but only about 20 different samples: those of a mode are nearly the same. Different latents lead to "
        "the same few samples."
    )


def test_what_knows_the_samples_is_named() -> None:
    (found,) = diagnose(record(inspection=replace(SOUND, critic=CriticView(0.7, 0.55, 0.5, served=0.93))))
    assert found.words.startswith(
        "The run's own critic knows the generated sample in 93.0% of pairs; a small classifier, trained now, tells "
        "which of a real and a generated sample is real in 73.0% of pairs"
    )
    assert found.words.endswith("97% of the samples are near the data, but most of them differ in some respect.")


def test_what_is_advised_against_one_finding_is_not_advised_again() -> None:
    found = diagnose(record(modes=3.0, unrest=0.5, events=[COLLAPSE]))
    keys = [(advice.section, key) for finding in found for advice in finding.advice for key in advice.keys]
    assert len(keys) == len(set(keys))
