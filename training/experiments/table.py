"""Formats the results table in Markdown from results files, and rows for a terminal.

The table in docs/results.md is this module's output; a test compares them.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from training.experiments.base import Experiment, Target
from training.experiments.results import Row

BOUND_WORDS: Final = {"at_least": "≥", "at_most": "≤"}
HEAD: Final = ("row", "system", "median (least to most) over the seeds", "asked", "met", "the paper's")


def markdown(rows: Sequence[Row]) -> str:
    """Format the whole table, followed by the protocol of each row.

    Returns:
        Lines of Markdown.
    """
    table = [_line(HEAD), _line(["---"] * len(HEAD)), *(_line(_cells(row)) for row in rows)]
    protocols = [f"- `{row.name}`: {row.protocol} {_cost(row)}" for row in rows]
    return "\n".join([*table, "", *protocols]) + "\n"


def printed(row: Row) -> list[str]:
    """Format one row for a terminal."""
    targets = [
        f"  {_asked(target)}: {'met' if row.meets(target) else 'NOT met'} by {_measured(row, target.metric)}"
        for target in row.targets
    ]
    shown = [f"  beside it: {_measured(row, metric)}" for metric in row.shown]
    seeds = f"{len(row.seeds)} seed" + ("s" if len(row.seeds) > 1 else "")
    return [
        f"{row.name}: {row.system}, {seeds}",
        *targets,
        *shown,
        f"  protocol: {row.protocol}",
        f"  paper: {row.paper}",
    ]


def listed(experiments: Iterable[Experiment]) -> list[str]:
    """List the experiments.

    Returns:
        One line each.
    """
    return [
        f"{experiment.name:<20} {experiment.system}; {experiment.seeds} seeds; "
        + ", ".join(_asked(target) for target in experiment.targets)
        for experiment in experiments
    ]


def _cells(row: Row) -> list[str]:
    metrics = [*(target.metric for target in row.targets), *row.shown]
    return [
        f"`{row.name}`",
        row.system,
        "<br>".join(_measured(row, metric) for metric in dict.fromkeys(metrics)),
        "<br>".join(_asked(target) for target in row.targets),
        "<br>".join("yes" if row.meets(target) else "**no**" for target in row.targets),
        row.paper,
    ]


def _measured(row: Row, metric: str) -> str:
    summary = row.summary(metric)
    spread = f" ({_number(summary.min)} to {_number(summary.max)})" if len(row.seeds) > 1 else ""
    return f"{_words(metric)} {_number(summary.median)}{spread}"


def _asked(target: Target) -> str:
    every = " in every seed" if target.over == "every_seed" else ""
    return f"{_words(target.metric)} {BOUND_WORDS[target.bound]} {_number(target.value)}{every}"


def _cost(row: Row) -> str:
    count = len(row.seeds)
    minutes = sum(result.seconds for result in row.seeds) / count / 60
    seeds = f"{count} seeds of" if count > 1 else "One seed of"
    place = row.seeds[0].origin["accelerator"] or row.seeds[0].origin["processor"]
    return f"{seeds} {minutes:.1f} minutes on {place}. `python -m training reproduce {row.name}`"


def _words(metric: str) -> str:
    return metric.replace("_", " ")


def _number(value: float) -> str:
    """Format four significant digits; whole numbers unchanged."""
    return f"{value:,.0f}" if value == round(value) else f"{value:.4g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
