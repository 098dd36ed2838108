"""The collapse alarm: a pure machine from the rows of a run to the moments when it collapsed and recovered.

    quiet ──▶ PATIENCE bad rows in a row ──▶ raised ──▶ PATIENCE good rows in a row ──▶ quiet

A row is bad if it shows any of the signs of `signs`. Folding the same rows gives the same alarms, so a resumed run
needs to remember nothing of it: the rows that it kept say it all. Early rows do not count: an untrained generator has
no variety yet, and nothing to lose.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

PATIENCE: Final = 2  # rows: one bad measurement is chance, two are not
GRACE: Final = 0.1  # share of the run in which a generator may still be looking for the data
LEAST_DIVERSITY: Final = 0.35  # of the data's
LEAST_MODES: Final = 0.5  # of those among as many real samples
LEAST_IN_MODES: Final = 0.5  # share of samples that are in any mode; with fewer, it is too early to count modes
PREFIX: Final = "theory/"


@dataclass(frozen=True)
class Change:
    """The alarm went on or off.

    Attributes:
        samples: training time.
        raised: whether it went on.
        reason: what was seen, one sentence.
    """

    samples: int
    raised: bool
    reason: str


@dataclass(frozen=True)
class Alarm:
    """What the machine remembers.

    Attributes:
        raised: whether it is on.
        streak: rows in a row that speak for a change.
    """

    raised: bool = False
    streak: int = 0


def watch(alarm: Alarm, row: Mapping[str, float], total_samples: int) -> tuple[Alarm, Change | None]:
    """See one more row.

    Args:
        alarm: what is remembered of the rows before.
        row: of `metrics.jsonl`; one without measurements changes nothing.

    Returns:
        What is to be remembered, and the change if there is one.
    """
    measured = readings_of(row)
    samples = int(row["samples"])
    if not measured or samples < GRACE * total_samples:
        return alarm, None
    found = signs(measured)
    streak = alarm.streak + 1 if bool(found) != alarm.raised else 0
    if streak < PATIENCE:
        return replace(alarm, streak=streak), None
    reason = "; ".join(found) if found else "variety is back"
    return Alarm(raised=not alarm.raised), Change(samples, not alarm.raised, reason)


def signs(measured: Mapping[str, float]) -> list[str]:
    """What speaks for a collapse.

    Args:
        measured: readings of one row; a sign whose figures are missing is not looked for.

    Returns:
        One clause a sign; none for a healthy generator.
    """
    found = []
    diversity = measured.get("diversity", math.inf)
    if diversity < LEAST_DIVERSITY:
        found.append(f"generated samples differ by {diversity:.0%} of what real ones do")
    if measured.get("in_a_mode", 0) >= LEAST_IN_MODES and measured["modes"] <= LEAST_MODES * measured["modes_of_real"]:
        found.append(f"{measured['modes']:.0f} of {measured['modes_of_real']:.0f} modes are drawn")
    if measured.get("support_high", math.inf) < measured.get("probe_samples", 0):
        found.append(f"only about {measured['support']:,.0f} different samples are drawn")
    return found


def readings_of(row: Mapping[str, float]) -> dict[str, float]:
    """The measurements in a row of the log, without their prefix."""
    return {name.removeprefix(PREFIX): figure for name, figure in row.items() if name.startswith(PREFIX)}
