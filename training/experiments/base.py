"""Defines an experiment: one row of the results table, as a function from a seed to its figures.

    EXPERIMENT = Experiment(name="ring", …, run=run)        one in each module of `studies`

An experiment trains one seed in one folder by the usual calls, measures the exported graph, and returns numbers by
name. `runner` runs the seeds, `table` formats them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """The arguments of one seed's run.

    Attributes:
        folder: of this seed; it exists, and may contain an interrupted attempt.
        data_path: the data's path, if it is not the configuration's.
        say: called with each line for the user.
    """

    seed: int
    folder: Path
    data_path: str | None
    say: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Target:
    """A lower or upper bound of a figure.

    Attributes:
        metric: its name among those that `run` returns.
        bound: side of the bound.
        value: the bound, inclusive.
        over: whether the median of the seeds or every seed has to meet it.
    """

    metric: str
    bound: Literal["at_least", "at_most"]
    value: float
    over: Literal["median", "every_seed"] = "median"

    def met_by(self, figures: list[float]) -> bool:
        """Whether figures meet the target.

        Args:
            figures: of one seed each, or only their median.

        Returns:
            True if all of them are within the bound; False for NaN.
        """
        if self.bound == "at_least":
            return all(figure >= self.value for figure in figures)
        return all(figure <= self.value for figure in figures)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One row of the results table.

    Attributes:
        name: of the row, its module and its results file.
        system: what is trained, in a few words.
        protocol: what is measured and on how many samples, one or two sentences.
        paper: the paper's numbers with the citation, one sentence.
        seeds: of the published row, from 0.
        run: trains and measures one seed.
        shown: further metrics in the table, such as a baseline.
    """

    name: str
    system: str
    protocol: str
    paper: str
    seeds: int
    targets: tuple[Target, ...]
    run: Callable[[Setting], Metrics]
    shown: tuple[str, ...] = ()
