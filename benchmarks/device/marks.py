"""The pass marks: what a card must show, read from what the stages noted.

    session.json · invariance.json · … ──figures──▶ one line: each mark passed, failed, or not measured

A rehearsal's figures count only for marks that hold on every device; a CPU's times say nothing of a card's.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Verdict = Literal["pass", "fail", "not measured"]
# Stage → figure → value.
Figures = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, kw_only=True)
class Mark:
    """One pass mark.

    Attributes:
        name: in the line.
        needs: stages and figures that its value is made of.
        value: from these figures, in order.
        passes: whether a value is enough.
        anywhere: whether a rehearsal's figures count.
        form: of the value, for `format`.
    """

    name: str
    needs: tuple[tuple[str, str], ...]
    passes: Callable[[float], bool]
    value: Callable[..., float] = float
    anywhere: bool = False
    form: str = ".3g"


def at_least(bound: float) -> Callable[[float], bool]:
    """A bound from below."""
    return lambda value: value >= bound


def at_most(bound: float) -> Callable[[float], bool]:
    """A bound from above."""
    return lambda value: value <= bound


def _share(of: float, whole: float) -> float:
    return of / whole


MEBIBYTE: Final = 2**20
MARKS: Final = (
    Mark(name="nodes on CUDA", needs=(("session", "share_on_device"),), passes=at_least(1.0)),
    Mark(name="deviation ≤ 1e-4", needs=(("session", "deviation"),), passes=at_most(1e-4), anywhere=True),
    Mark(name="steady", needs=(("invariance", "unsteady_served"),), passes=at_most(0), anywhere=True),
    Mark(name="promise", needs=(("promise", "differing"),), passes=at_most(0), anywhere=True),
    Mark(
        name="a package ≤ 500 MiB",
        needs=(("cost", "package_bytes"),),
        value=lambda used: used / MEBIBYTE,
        passes=at_most(500),
    ),
    Mark(name="first request ≤ 3 × median", needs=(("life", "first_of_median"),), passes=at_most(3)),
    Mark(name="reload drift ≤ 1 %", needs=(("life", "reload_drift"),), passes=at_most(0.01)),
    Mark(name="reloads fail nobody", needs=(("life", "reload_failures"),), passes=at_most(0), anywhere=True),
    Mark(
        name="g64 n=16 ≥ 60 %",
        needs=(("serve", "g64_n16"), ("ceiling", "g64_plain")),
        value=_share,
        passes=at_least(0.6),
    ),
    Mark(
        name="g28 n=16 ≥ 25 %",
        needs=(("serve", "g28_n16"), ("ceiling", "g28_plain")),
        value=_share,
        passes=at_least(0.25),
    ),
    Mark(
        name="API processes, g64 ≥ 80 %",
        needs=(("serve", "g64_n16_processes"), ("ceiling", "g64_plain")),
        value=_share,
        passes=at_least(0.8),
    ),
    Mark(
        name="graph and pinned ≥ 1.3 × plain",
        needs=(("ceiling", "g28_graph"), ("ceiling", "g28_plain")),
        value=_share,
        passes=at_least(1.3),
    ),
    Mark(name="buckets ≥ 3 × as they come", needs=(("ceiling", "buckets_of_as_they_come"),), passes=at_least(3)),
    Mark(name="training ≥ 1.0 × tutorial", needs=(("train-speed", "ours_of_tutorial"),), passes=at_least(1)),
    Mark(name="captured ≥ 2.5 × tutorial", needs=(("graph-train", "captured_of_tutorial"),), passes=at_least(2.5)),
    Mark(name="exact resume", needs=(("resume", "inexact"),), passes=at_most(0), anywhere=True),
)


def read(folders: Sequence[Path]) -> dict[str, dict[str, object]]:
    """Read what stages noted.

    Args:
        folders: of several calls, the newest first: of a stage that is in several, the first counts.

    Returns:
        Stage → its notes.
    """
    found: dict[str, dict[str, object]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            notes = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(notes, dict) and "stage" in notes and "figures" in notes:
                found.setdefault(str(notes["stage"]), notes)
    return found


def judge(mark: Mark, stages: Mapping[str, Mapping[str, object]]) -> tuple[Verdict, float | None]:
    """Judge one mark.

    Returns:
        Its verdict, and the value where there is one.
    """
    given = []
    for stage, figure in mark.needs:
        notes = stages.get(stage, {})
        figures = notes.get("figures")
        value = figures.get(figure) if isinstance(figures, dict) else None
        if not isinstance(value, int | float) or (notes.get("rehearsal") and not mark.anywhere):
            return "not measured", None
        given.append(float(value))
    found = mark.value(*given)
    return ("pass" if mark.passes(found) else "fail"), found


def line(stages: Mapping[str, Mapping[str, object]]) -> tuple[str, list[str]]:
    """All marks in one line.

    Returns:
        The line, and the names of the marks that failed.
    """
    told, failed = [], []
    for mark in MARKS:
        verdict, value = judge(mark, stages)
        told.append(f"{mark.name}: {verdict}" + (f" ({value:{mark.form}})" if value is not None else ""))
        if verdict == "fail":
            failed.append(mark.name)
    return "marks · " + " · ".join(told), failed
