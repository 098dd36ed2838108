"""Diagnoses a run: findings, each with what was seen, what to try, and the chart that shows it.

    diverged         values grew without bound, or the run was rolled back to a checkpoint
    saturation       the critic is sure, and the minimax loss leaves the generator almost no gradient
    stalled          the generator does not learn, independent of its critic
    constrained      penalties or a clip keep the critic too flat to learn from
    weak             the critic misses what a small classifier detects
    collapse         the generator draws almost identical samples
    memorised        the generator repeats its training set
    overfitting      the critic has memorised its training set
    oscillation      the generator circles instead of converging
    young            too few steps, or samples that are still getting nearer to the data
    outplayed        the critic separates real from generated samples, with any loss
    missing          some modes of the data are never drawn
    unlike           a classifier knows samples from real ones in 9 of 10 pairs, and they are not near the data
    distinguishable  a classifier, fresh or the run's own, knows them in 9 of 10 pairs, though they are near the data
    unfinished       the run has not reached its end
    unmeasured       there are no measurements
    inconclusive     nothing bad was seen, but nothing shows that samples are like the data
    healthy          samples are like the data, as far as these classifiers can tell, and none of the above but,
                     perhaps, unfinished

Causes come before their consequences. A diagnosis is a pure function of a run's record; advice for one finding is
neither repeated nor contradicted by the next.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from training.diagnostics import symptoms
from training.diagnostics.advice import advice_for
from training.diagnostics.alarm import readings_of
from training.diagnostics.findings import Finding, RunRecord

# More steps would not help against these.
NO_MATTER_OF_TIME: Final = frozenset({"diverged", "stalled", "constrained", "weak"})

Rule = Callable[[RunRecord], Iterator[Finding]]


def diagnose(record: RunRecord) -> list[Finding]:
    """Find the problems of a run.

    Returns:
        Findings, the most serious first; at least one.
    """
    # In the first thousand steps, time is the likelier reason than the critic.
    late = record.steps >= symptoms.FEW_STEPS
    rules: tuple[Rule, ...] = (
        symptoms.diverged,
        symptoms.saturation,
        symptoms.stalled,
        symptoms.weak,
        symptoms.collapse,
        symptoms.memorised,
        symptoms.overfitting,
        symptoms.oscillation,
        *((symptoms.outplayed, symptoms.young) if late else (symptoms.young, symptoms.outplayed)),
        symptoms.missing,
        symptoms.unlike,
        _unfinished,
    )
    found = [finding for rule in rules for finding in rule(record)]
    if any(finding.name in NO_MATTER_OF_TIME for finding in found):
        found = [finding for finding in found if finding.name != "young"]
    if all(finding.name == "unfinished" for finding in found):
        found.insert(0, _without_a_symptom(record))
    return _consistent(found)


def _without_a_symptom(record: RunRecord) -> Finding:
    if not any(readings_of(row) for row in record.rows):
        words = "The run has no measurements, so only its losses, its events and its end are known."
        return Finding("unmeasured", words, advice_for("unmeasured", record.config), "losses")
    if record.inspection is None:
        words = (
            f"Nothing bad was seen{_clauses(record)}. But its samples were not compared with the data, and without "
            "that nothing shows that they are like it."
        )
        return Finding("inconclusive", words, chart="variety")
    test = record.inspection.two_sample
    words = (
        "Samples are like the data: a small classifier, trained now, tells which of a real and a generated one is "
        f"real in {test.auc:.1%} of pairs (standard error {test.auc_error:.1%}; 50% is a coin). No collapse, no "
        f"saturation, no oscillation was seen{_clauses(record)}."
    )
    return Finding("healthy", words, chart="variety")


def _unfinished(record: RunRecord) -> Iterator[Finding]:
    total = record.config.trainer.total_samples
    if record.samples_seen < total:
        words = f"The run is at sample {record.samples_seen:,} of {total:,} ({record.samples_seen / total:.0%})."
        yield Finding("unfinished", words, advice_for("unfinished", record.config))


def _clauses(record: RunRecord) -> str:
    """Figures in favour of a run, each clause after a colon or a comma; empty if nothing was measured."""
    clauses = []
    diversity, drawn, real = record.last("diversity"), record.last("modes"), record.last("modes_of_real")
    told_apart, unrest = record.last("paired_accuracy"), record.last("unrest")
    if diversity is not None:
        clauses.append(f"generated samples differ by {diversity:.0%} of what real ones do")
    if drawn is not None and real is not None and symptoms.counts_modes(record):
        clauses.append(f"{drawn:.3g} of {real:.0f} modes are drawn")
    if told_apart is not None:
        clauses.append(f"the run's own critic tells {told_apart:.0%} of pairs apart")
    if unrest is not None:
        clauses.append(f"the generator is {unrest:.0%} of the data's own distances away from its average")
    if record.inspection is not None:
        copies, near = record.inspection.memorisation.copies, record.inspection.memorisation.near
        clauses.append(f"{near:.0%} of its samples are as near to the data as real ones, {copies:.0%} are copies")
    return f": {', '.join(clauses)}" if clauses else ""


def _consistent(findings: Sequence[Finding]) -> list[Finding]:
    """Findings without advice on keys that an earlier finding has already advised on."""
    advised: set[tuple[str, str]] = set()
    told: set[str] = set()
    kept = []
    for finding in findings:
        fresh = []
        for advice in finding.advice:
            keys = {(advice.section, key) for key in advice.keys}
            if keys & advised or (not keys and advice.reason in told):
                continue
            advised |= keys
            told.add(advice.reason)
            fresh.append(advice)
        kept.append(replace(finding, advice=tuple(fresh)))
    return kept
