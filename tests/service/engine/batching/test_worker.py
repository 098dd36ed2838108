"""The order of a worker's steps: the next batch is prepared before the last one is answered."""

import threading
from collections.abc import Sequence
from typing import cast

from service.engine.batching.queue import RequestQueue, ScheduledBatch, WakeUp
from service.engine.batching.worker import Answer, BatchRunner, Prepared, WorkerThread

TIMEOUT_S = 10.0


class Batches:
    """A queue and a worker that note what a worker asks of them.

    Args:
        *rounds: how many batches wait each time that the worker comes back.
    """

    def __init__(self, *rounds: int) -> None:
        self.notes: list[str] = []
        self.ended = threading.Event()
        self._rounds = list(rounds)
        self._left = 0
        self._number = 0

    def take(self, gate: WakeUp) -> ScheduledBatch | None:
        self.notes.append("wait")
        if not self._rounds:
            return None
        self._left = self._rounds.pop(0)
        return self.take_waiting()

    def take_waiting(self) -> ScheduledBatch | None:
        if self._left == 0:
            return None
        self._left -= 1
        self._number += 1
        return cast("ScheduledBatch", str(self._number))

    def prepare(self, taken: ScheduledBatch) -> Prepared:
        self.notes.append(f"prepare {taken}")
        return cast("Prepared", taken)

    def run(self, prepared: Prepared) -> list[Answer]:
        self.notes.append(f"run {prepared}")
        return cast("list[Answer]", [prepared])

    def post(self, answers: Sequence[Answer]) -> None:
        self.notes.append(f"post {answers[0]}")


def notes_of(*rounds: int) -> list[str]:
    batches = Batches(*rounds)
    worker = WorkerThread(
        "worker", cast("RequestQueue", batches), cast("BatchRunner", batches), batches.post, batches.ended.set
    )
    worker.start()
    assert batches.ended.wait(TIMEOUT_S)
    return batches.notes


def test_a_lone_batch_is_answered_before_the_worker_waits() -> None:
    assert notes_of(1, 1) == [
        *("wait", "prepare 1", "run 1", "post 1"),
        *("wait", "prepare 2", "run 2", "post 2"),
        "wait",
    ]


def test_a_waiting_batch_is_prepared_before_the_last_one_is_answered() -> None:
    assert notes_of(3) == [
        "wait",
        *("prepare 1", "run 1"),
        *("prepare 2", "post 1", "run 2"),
        *("prepare 3", "post 2", "run 3"),
        "post 3",
        "wait",
    ]
