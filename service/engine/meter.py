"""Where a batcher counts: the metrics that charts show, and the exact statistics of its own graph.

It stands apart from the batcher because what is counted changes for other reasons than how requests are batched. Runs
are counted on the model thread and requests on the event loop, each in a field of its own, so nothing is locked. The
one exception is the queue's gauge, which both threads move, under the batcher's lock.
"""

import time
from dataclasses import replace

from service.engine.statistics import GraphStatistics, Stages, StageTotals
from service.telemetry import Telemetry


class Meter:
    """Counts for one graph.

    Args:
        telemetry: the metrics.
        model: a loaded package's name.
        graph: `generator`, `discriminator` or `encoder`.

    Attributes:
        name: of the model and its graph, for people.
    """

    def __init__(self, telemetry: Telemetry, model: str, graph: str) -> None:
        self.name = f"{model}-{graph}"
        self._samples = telemetry.samples.labels(model, graph)
        self._queue_samples = telemetry.queue_samples.labels(model, graph)
        self._queue_seconds = telemetry.queue_seconds.labels(model, graph)
        self._batch_samples = telemetry.batch_samples.labels(model, graph)
        self._padding_samples = telemetry.padding_samples.labels(model, graph)
        self._run_seconds = telemetry.run_seconds.labels(model, graph)
        self._known_queue = 0
        self._requests = GraphStatistics()
        self._batches: dict[int, StageTotals] = {}

    @property
    def statistics(self) -> GraphStatistics:
        """Everything so far."""
        batches = self._batches.copy()
        return replace(self._requests, runs=sum(totals.run.count for totals in batches.values()), batches=batches)

    def queue_is(self, samples: int) -> None:
        """Add the change to the gauge: two versions of a model share it."""
        self._queue_samples.inc(samples - self._known_queue)
        self._known_queue = samples

    def waited(self, seconds: float) -> None:
        """Count a request that its first run took from the queue."""
        self._queue_seconds.observe(seconds)

    def ran(self, samples: int, size: int, stages: Stages) -> None:
        """Count a run of `size` rows, `samples` of them somebody's."""
        self._samples.inc(samples)
        self._batch_samples.observe(samples)
        self._padding_samples.inc(size - samples)
        self._run_seconds.observe(stages.run_s)
        self._batches[size] = self._batches.get(size, StageTotals()).plus(stages)

    def answered(self, samples: int, queue_s: float, stages: Stages, whole_s: float) -> None:
        """Count a request that was answered just now.

        Args:
            samples: that it asked for.
            queue_s: from its arrival to its first run.
            stages: of the runs it was part of.
            whole_s: from its arrival to now.
        """
        before = self._requests
        self._requests = replace(
            before,
            samples=before.samples + samples,
            last_answer=time.time(),
            answered=before.answered.plus(whole_s),
            queued=before.queued.plus(queue_s),
            stages=before.stages.plus(stages),
        )

    def failed(self, whole_s: float) -> None:
        """Count a request that ended without an answer, `whole_s` after its arrival."""
        self._requests = replace(self._requests, failed=self._requests.failed.plus(whole_s))
