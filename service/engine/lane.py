"""A model thread: it takes a batch, has its inputs written, runs it, and hands the results over.

    desk.take ─▶ each request writes its rows ─▶ what is left is drawn together ─▶ run ─▶ rows of each request ─▶ post
        ▲                                                                                                          │
        └──────────────────────────────────────────────────────────────────────────────────────────────────────────┘

There is one a core, and each has input buffers of its own. Whatever a request's inputs or a run may raise ends those
requests, never the thread. It knows nothing of the event loop but `post`, by which it says who is answered what.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence

from service.engine.desk import Desk, Gate, Piece, Taken
from service.engine.draws import Draw, draw_together
from service.engine.inputs import BatchInputs
from service.engine.meter import Meter
from service.engine.request import Request
from service.engine.runners import Outputs, Runners
from service.engine.statistics import NO_TIME, Stages
from service.errors import DeadlinePassed, GanymedeError, SessionFailed

Answer = tuple[Request, GanymedeError | None]
"""A request, and what went wrong with it; None where it is complete."""

_log = logging.getLogger(__name__)


class Lane:
    """One model thread.

    Args:
        name: of the thread.
        desk: where it takes its work.
        runners: of the graph.
        inputs: its own room.
        meter: where it counts.
        post: is given answers, on this thread.
        ended: is called on this thread, as its last act.
    """

    def __init__(
        self,
        name: str,
        desk: Desk,
        runners: Runners,
        inputs: BatchInputs,
        meter: Meter,
        post: Callable[[Sequence[Answer]], None],
        ended: Callable[[], None],
    ) -> None:
        self._desk = desk
        self._runners = runners
        self._inputs = inputs
        self._meter = meter
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
            while self._serve_one_batch():
                pass
        finally:  # whatever ended the thread, nobody may go on waiting for it
            self._ended()

    def _serve_one_batch(self) -> bool:
        """Wait for a batch and run it; False to end. What it held is let go of before the next wait."""
        taken = self._desk.take(self._gate)
        if taken is None:
            return False
        if taken.expired:
            self._post([(request, late()) for request in taken.expired])
        if taken.pieces:
            self._work(taken)
        return True

    def _work(self, taken: Taken) -> None:
        """Run one batch, and answer those whom it finished or failed."""
        for piece, request in taken.pieces:
            if piece.start == 0:
                request.began = taken.at
                self._meter.waited(taken.at - request.arrived)
        self._inputs.begin(taken.size)
        ran, draws, faults = self._write(taken.pieces)
        stages = NO_TIME
        if ran:
            try:
                stages = self._run(taken, ran, draws)
            except Exception as error:  # noqa: BLE001 - whatever a runner raises, the lane lives on
                _log.exception("a session run failed, and with it %d requests", len(ran))
                faults += [(piece, error) for piece in ran]
                ran = []
        self._inputs.end()
        if ran:
            self._meter.ran(sum(piece.stop - piece.start for piece, _ in ran), taken.size, stages)
        complete = self._desk.done(taken, ran, [piece for piece, _ in faults], stages)
        answers: list[Answer] = [(request, _fault(error)) for (_, request), error in faults]
        self._post(answers + [(request, None) for request in complete])

    def _write(self, pieces: Sequence[Piece]) -> tuple[list[Piece], list[Draw], list[tuple[Piece, Exception]]]:
        """Have each request write its rows; one whose rows cannot be made fails alone, and leaves no gap."""
        written: list[Piece] = []
        draws: list[Draw] = []
        faults: list[tuple[Piece, Exception]] = []
        filled = 0
        for piece, request in pieces:
            samples = piece.stop - piece.start
            try:
                draws += request.source(piece.start, piece.stop, self._inputs.rows(filled, filled + samples))
            except Exception as error:  # noqa: BLE001 - and whatever a request's own inputs raise
                _log.exception("a request's inputs could not be made")
                faults.append(((piece, request), error))
            else:
                written.append((piece, request))
                filled += samples
        return written, draws, faults

    def _run(self, taken: Taken, pieces: Sequence[Piece], draws: Sequence[Draw]) -> Stages:
        """Draw, compute, and give each request its rows."""
        draw_together(draws)
        filled = sum(piece.stop - piece.start for piece, _ in pieces)
        feeds = self._inputs.feeds(filled, taken.size)
        outputs = list(dict.fromkeys(name for _, request in pieces for name in request.outputs))
        wide = self._runners.wide if taken.wide else None
        drawn = time.monotonic()
        batch = (wide or self._runners.narrow).compute(feeds, outputs)
        ran = time.monotonic()
        self._hand_out(pieces, batch)
        return Stages(drawn - taken.at, ran - drawn, time.monotonic() - ran)

    def _hand_out(self, pieces: Sequence[Piece], batch: Outputs) -> None:
        split = [(piece, request) for piece, request in pieces if not request.is_whole(piece)]
        if split:
            self._desk.make_room(split, batch)
        first = 0
        for piece, request in pieces:
            if request.is_whole(piece):
                request.view(batch, first)
            else:
                request.copy(piece, batch, first)
            first += piece.stop - piece.start


def late() -> DeadlinePassed:
    """What a request is told whose deadline came first."""
    return DeadlinePassed("the deadline passed before the samples were computed")


def _fault(error: Exception) -> GanymedeError:
    """A new error for each request: tasks that raise one and the same would write into one traceback."""
    fault = SessionFailed("the session failed on the batch that held this request")
    fault.__cause__ = error
    return fault
