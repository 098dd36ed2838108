"""What one running graph has done so far, in exact integers: requests, samples, runs, and where their time went.

It stands beside the metrics because it answers another question: those are for charts over many models and processes,
these are counters of one graph that a load generator reads before and after, whose differences must add up. A request
is counted once, when it ends; a run when it ends. Durations are nanoseconds, each summed over requests as its caller
lived through them: of a batch, every request in it waited for the whole run. Runs of one request that were side by side
are all counted, so that its stages may be longer together than its whole.

    arrival ──queue──▶ taken ──inputs──▶ ──run──▶ ──outputs──▶ answered
"""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Total:
    """Durations added up.

    Attributes:
        count: how many.
        ns: their sum in nanoseconds.
    """

    count: int = 0
    ns: int = 0


@dataclass(frozen=True, slots=True)
class Stages:
    """Seconds of one run, or of all runs that one request was part of.

    Attributes:
        inputs_s: making the rows.
        run_s: in the session.
        outputs_s: taking the results out.
    """

    inputs_s: float = 0.0
    run_s: float = 0.0
    outputs_s: float = 0.0

    def __add__(self, other: "Stages") -> "Stages":
        return Stages(self.inputs_s + other.inputs_s, self.run_s + other.run_s, self.outputs_s + other.outputs_s)


NO_TIME = Stages()


@dataclass(frozen=True, slots=True)
class StageTotals:
    """`Stages` added up.

    Attributes:
        inputs: making the rows.
        run: in the session.
        outputs: taking the results out.
    """

    inputs: Total = Total()
    run: Total = Total()
    outputs: Total = Total()


@dataclass(frozen=True, slots=True)
class GraphStatistics:
    """Everything since a graph was loaded.

    Attributes:
        samples: computed for requests that were answered.
        runs: of the session.
        last_answer: when a request was last answered, seconds since 1970; None where none was.
        answered: requests, from arrival to answer.
        failed: requests that ended otherwise: refused, late, cancelled or broken; from arrival to end.
        queued: answered requests, from arrival to the first run.
        stages: of answered requests.
        batches: rows of a run, padding included → its stages, once a run.
    """

    samples: int = 0
    runs: int = 0
    last_answer: float | None = None
    answered: Total = Total()
    failed: Total = Total()
    queued: Total = Total()
    stages: StageTotals = StageTotals()
    batches: dict[int, StageTotals] = field(default_factory=dict)
