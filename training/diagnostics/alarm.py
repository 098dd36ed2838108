"""The collapse alarm: a state machine from the rows of a run to the moments when it collapsed and recovered.

    quiet ──▶ PATIENCE bad rows in a row ──▶ raised ──▶ PATIENCE good rows in a row ──▶ quiet

A row is bad if it shows any of the signs of `signs`. The same rows give the same alarms, so a resumed run restores it
from its rows. Early rows are ignored, because an untrained generator has no variety yet.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

PATIENCE: Final = 2  # rows: a single bad measurement may be chance
GRACE: Final = 0.1  # share of the run whose rows are ignored
LEAST_DIVERSITY: Final = 0.35  # of the data's
LEAST_MODES: Final = 0.5  # of those among as many real samples
LEAST_IN_MODES: Final = 0.5  # share of samples that are in any mode; with fewer, modes are not counted
PREFIX: Final = "theory/"


@dataclass(frozen=True)
class Change:
    """The alarm went on or off.

    Attributes:
        samples: training time.
        reason: what was seen, one sentence.
    """

    samples: int
    raised: bool
    reason: str


@dataclass(frozen=True)
class Alarm:
    """State of the alarm.

    Attributes:
        streak: consecutive rows that indicate a change.
    """

    raised: bool = False
    streak: int = 0


def watch(alarm: Alarm, row: Mapping[str, float], total_samples: int) -> tuple[Alarm, Change | None]:
    """Process one more row.

    Args:
        alarm: the state after the rows before.
        row: of `metrics.jsonl`; one without measurements changes nothing.

    Returns:
        The new state, and the change if there is one.
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
    """List the signs of a collapse.

    Args:
        measured: readings of one row; signs whose figures are missing are skipped.

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
        few = f"only about {measured['support']:,.0f} different samples"
        counted = measured.get("in_a_mode", 0) >= LEAST_IN_MODES
        if counted and measured["modes"] >= measured["modes_of_real"]:
            few = f"all {measured['modes']:.0f} modes are drawn, but {few}: those of a mode are nearly the same"
        else:
            few += " are drawn"
        found.append(few)
    return found


def readings_of(row: Mapping[str, float]) -> dict[str, float]:
    """Extract the measurements of a row of the log, without their prefix."""
    return {name.removeprefix(PREFIX): figure for name, figure in row.items() if name.startswith(PREFIX)}
