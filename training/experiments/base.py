"""What an experiment is: one row of the results table, as a function from a seed to its figures.

    EXPERIMENT = Experiment(name="ring", …, run=run)        one in each module beside this one

An experiment trains through the same calls as everybody, measures the exported graph, and returns numbers by name. It
knows one seed and one folder; how many seeds there are, what they sum up to and where that is kept is the runner's
business, and how it reads is the table's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Metrics = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What one seed is run with.

    Attributes:
        folder: this seed's own; it exists, and may hold what an interrupted attempt left there.
        data_path: where the data lies, if it is not where the configuration says.
        say: is given what a person should read, line by line.
    """

    seed: int
    folder: Path
    data_path: str | None
    say: Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a figure should be at least, or at most.

    Attributes:
        metric: its name among those that `run` returns.
        bound: from which side the value binds.
        value: the bound, which itself is good enough.
        over: what is held against it: the median of the seeds, or every single one.
    """

    metric: str
    bound: Literal["at_least", "at_most"]
    value: float
    over: Literal["median", "every_seed"] = "median"

    def met_by(self, figures: list[float]) -> bool:
        """Whether it is met.

        Args:
            figures: of one seed each, or their median alone.

        Returns:
            True if all of them are within the bound; never for a figure that is not a number.
        """
        if self.bound == "at_least":
            return all(figure >= self.value for figure in figures)
        return all(figure <= self.value for figure in figures)


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One row of the results table.

    Attributes:
        name: of the row, its module and its results file.
        system: what is trained, for the table: a few words.
        protocol: what is measured and on how many samples, one or two sentences.
        paper: the paper's numbers with the citation, one sentence.
        seeds: of the published row, from 0.
        run: trains and measures one seed.
        shown: metrics beside those of the targets that the table shows, such as a baseline.
    """

    name: str
    system: str
    protocol: str
    paper: str
    seeds: int
    targets: tuple[Target, ...]
    run: Callable[[Setting], Metrics]
    shown: tuple[str, ...] = ()
