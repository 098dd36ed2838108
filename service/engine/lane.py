"""A model thread: it takes batches from the desk, one after the other, and has its worker compute them.

    wait for a batch ─▶ write its inputs ─▶ post the answers of the last batch ─▶ run it ─▶ take another ─▶ …

Where a batch waits already, its inputs are written before the event loop hears of the answers of the last one: the loop
is busy with them for as long as a short run takes, and both need the interpreter, so that the other way round a core
would stand still meanwhile.

There is one lane a core. It knows nothing of the event loop but `post`, by which it says who is answered what.
"""

import threading
from collections.abc import Callable, Sequence

from service.engine.desk import Desk, Gate
from service.engine.worker import Answer, Worker


class Lane:
    """One model thread.

    Args:
        name: of the thread.
        desk: where it takes its work.
        worker: of this lane alone.
        post: is given answers, on this thread.
        ended: is called on this thread, as its last act.
    """

    def __init__(
        self,
        name: str,
        desk: Desk,
        worker: Worker,
        post: Callable[[Sequence[Answer]], None],
        ended: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._worker = worker
        self._post = post
        self._ended = ended
        self._gate = Gate()
        # A daemon: a run that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)

    def start(self) -> None:
        """Begin to take work."""
        self._thread.start()

    def _serve(self) -> None:
        try:
            while self._wait_and_serve():
                pass
        finally:  # whatever ended the thread, nobody may go on waiting for it
            self._ended()

    def _wait_and_serve(self) -> bool:
        """Wait for a batch, then serve until none waits; False to end. What it held is gone before the next wait."""
        taken = self._desk.take(self._gate)
        if taken is None:
            return False
        answers: Sequence[Answer] = ()
        while taken is not None:
            prepared = self._worker.prepare(taken)
            if answers:
                self._post(answers)
            answers = self._worker.run(prepared)
            taken = self._desk.take_waiting()
        self._post(answers)
        return True
