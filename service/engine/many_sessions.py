"""One graph in many sessions that stand as one runner: one for each batch size, or one for each caller.

    PerSize    a batch of B rows ──▶ the session of B        where a session's plans are made for one size
    Pool       any batch ──▶ a session that is free          where a session takes one caller at a time

ONNX Runtime's CUDA provider keeps one plan of cuDNN's for each convolution and builds it anew whenever the batch
changes, which takes longer than the run; OpenVINO plans kernels and memory best for sizes that are fixed. Both knew the
sizes beforehand if only they were told. The sessions are made elsewhere; this module knows no library.

References:
    ONNX Runtime issue 23006: runs of changing shapes fifteen times as slow since 1.20.
"""

from collections.abc import Collection, Mapping, Sequence
from queue import SimpleQueue

from service.engine.runners import Feeds, LoadedGraph, Outputs, batch_of
from service.engine.runtime import Precision


class PerSize:
    """A session for each batch size.

    Args:
        sessions: batch size → session; at least one, all of one graph.

    Attributes:
        graph: as every session says.
        runtime: likewise.
        provider: likewise.
        precision: likewise.
    """

    def __init__(self, sessions: Mapping[int, LoadedGraph]) -> None:
        first = next(iter(sessions.values()))
        self.graph: str = first.graph
        self.runtime: str = first.runtime
        self.provider: str = first.provider
        self.precision: Precision = first.precision
        self._sessions = dict(sessions)

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`, for batches of the sizes there are."""
        return self._sessions[batch_of(feeds)].compute(feeds, outputs)

    def only(self, sizes: Collection[int]) -> "PerSize":
        """Keep the sessions of some of the sizes, and let go of the others."""
        return PerSize({size: session for size, session in self._sessions.items() if size in sizes})


class Pool:
    """A session for each caller.

    Args:
        sessions: all of one graph, and all giving the same bytes; as many callers as there are sessions never wait.
    """

    def __init__(self, sessions: Sequence[LoadedGraph]) -> None:
        self._free: SimpleQueue[LoadedGraph] = SimpleQueue()
        for session in sessions:
            self._free.put(session)

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        session = self._free.get()
        try:
            return session.compute(feeds, outputs)
        finally:
            self._free.put(session)
