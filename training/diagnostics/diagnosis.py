"""What a run suffers from, in words: findings, each with what was seen, what to try, and the chart that shows it.

    saturation    the critic is sure, and the minimax loss leaves the generator next to no gradient
    outplayed     the critic tells real from generated without effort, whatever the loss
    collapse      the generator draws next to nothing but the same
    missing       some modes of the data are never drawn
    oscillation   the generator circles instead of coming to rest
    memorised     the generator repeats its training set
    diverged      the run had to go back to a checkpoint
    unfinished    the run has not reached its end
    unmeasured    there are no measurements to go by
    healthy       none of these but, perhaps, unfinished

A diagnosis is a pure function of what a run remembers.
"""

from collections.abc import Callable, Iterator

from training.diagnostics import symptoms
from training.diagnostics.alarm import readings_of
from training.diagnostics.finding import Finding, Record


def diagnose(record: Record) -> list[Finding]:
    """Say what a run suffers from.

    Args:
        record: what it remembers.

    Returns:
        Findings, the gravest first; never none.
    """
    rules: tuple[Callable[[Record], Iterator[Finding]], ...] = (
        _diverged,
        symptoms.collapse,
        symptoms.critic,
        symptoms.missing,
        symptoms.oscillation,
        symptoms.memorised,
        _unfinished,
    )
    found = [finding for rule in rules for finding in rule(record)]
    if not any(readings_of(row) for row in record.rows):
        found.append(_unmeasured(record))
    elif all(finding.name == "unfinished" for finding in found):
        found.insert(0, Finding("healthy", _health(record), chart="variety"))
    return found


def _unmeasured(record: Record) -> Finding:
    words = "The run has no measurements, so only its losses, its events and its end are known."
    asked = record.config.diagnostics.every_samples > 0
    tries = () if asked else ("[diagnostics] every_samples = 6400, in a new run",)
    return Finding("unmeasured", words, tries, "losses")


def _diverged(record: Record) -> Iterator[Finding]:
    rollbacks = [event for event in record.events if event.event == "rollback"]
    if rollbacks:
        times = "once" if len(rollbacks) == 1 else f"{len(rollbacks)} times"
        yield Finding(
            "diverged",
            f"Numbers overflowed {times}, and the run went back: {rollbacks[-1].text}.",
            (
                "[trainer] learning_rate_discriminator and learning_rate_generator: half of each, from the start",
                "[objective] gamma_r1 and gamma_r2: ten times as high",
                "[discriminator] spectral_norm = true",
            ),
            "losses",
        )


def _unfinished(record: Record) -> Iterator[Finding]:
    total = record.config.trainer.total_samples
    if record.samples_seen < total:
        yield Finding(
            "unfinished",
            f"The run is at sample {record.samples_seen:,} of {total:,} ({record.samples_seen / total:.0%}).",
            ("python -m training resume RUN goes on",),
        )


def _health(record: Record) -> str:
    """What speaks for a run."""
    clauses = []
    diversity, drawn, real = record.last("diversity"), record.last("modes"), record.last("modes_of_real")
    told_apart, unrest = record.last("paired_accuracy"), record.last("unrest")
    if diversity is not None:
        clauses.append(f"generated samples differ by {diversity:.0%} of what real ones do")
    if drawn is not None and real is not None:
        clauses.append(f"{drawn:.3g} of {real:.0f} modes are drawn")
    if told_apart is not None:
        clauses.append(f"the critic tells a real from a generated sample in {told_apart:.0%} of pairs (50% is a coin)")
    if unrest is not None:
        clauses.append(f"the generator is {unrest:.0%} of the data's own distances away from its average")
    if record.memorisation is not None:
        clauses.append(f"{record.memorisation.copies:.0%} of its samples are copies of training samples")
    return f"No collapse, no saturation, no oscillation was seen: {', '.join(clauses)}."
