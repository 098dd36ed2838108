"""Counters of one running graph: requests, samples, runs, and where their time went, in exact integers.

    arrival ──queue──▶ first run ──inputs──▶ ──run──▶ ──outputs──▶ answered

The metrics serve charts over many models and processes; these counters are read before and after a load test, and their
differences must add up. A request is counted once, when it ends; so is a run. Durations are nanoseconds, summed over
requests: every request of a batch waited for the whole run. Runs of one request that were side by side all count, so
that its stages may be longer together than the whole.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Total:
    """A number of durations, and their sum in nanoseconds."""

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds of one run, or of all runs that one request was part of.

    Attributes:
        inputs_s: writing the input rows.
        run_s: in the session.
        outputs_s: handing out the results.
    """

    inputs_s: float = 0.0
    run_s: float = 0.0
    outputs_s: float = 0.0

    def __add__(self, other: "Stages") -> "Stages":
        return Stages(self.inputs_s + other.inputs_s, self.run_s + other.run_s, self.outputs_s + other.outputs_s)


NO_TIME = Stages()


@dataclass(frozen=True, slots=True)
class StageTotals:
    """`Stages` of many runs or requests, added up."""

    inputs: Total = Total()
    run: Total = Total()
    outputs: Total = Total()


@dataclass(frozen=True, slots=True)
class GraphStatistics:
    """Everything since a graph was loaded.

    Attributes:
        samples: of answered requests.
        last_answer: when a request was last answered, seconds since 1970; None where none was.
        answered: requests, from arrival to answer.
        failed: requests that were refused, late, cancelled or failed; from arrival to end.
        queued: answered requests, from arrival to the first run.
        stages: of answered requests.
        batches: rows of a run, padding included → its stages, once per run.
    """

    samples: int = 0
    runs: int = 0
    last_answer: float | None = None
    answered: Total = Total()
    failed: Total = Total()
    queued: Total = Total()
    stages: StageTotals = StageTotals()
    batches: dict[int, StageTotals] = field(default_factory=dict)
