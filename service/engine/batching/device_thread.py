"""The one thread of this process that uses a device beside the CPU.

    loading, trimming ──call──▶ ┐
    workers ───────────start──▶ ├─ one task after the other, in the order they came ─▶ sessions of all graphs

ONNX Runtime keeps cuBLAS and cuDNN handles, and memory that is bound to a stream, for each thread that runs a session:
from several threads it holds them several times, and its first run from each is cold. Two runs at a time in one session
may hand memory from one stream to the other while it is in use. So every session on the device is opened, verified,
run and freed here. Between two steps of loading a package, the runs of those that serve get their turn.

References:
    ONNX Runtime issues 29351 (memory grows with every thread) and 32342 (concurrent runs of one session).
"""

import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from typing import ParamSpec, TypeVar

from service.engine.backends.base import LoadedGraph
from service.engine.config import Precision
from service.engine.model_spec import Feeds, Outputs
from service.errors import NotReady

P = ParamSpec("P")
T = TypeVar("T")

_Tasks = SimpleQueue[Callable[[], None] | None]


class DeviceThread:
    """Runs tasks one after the other. Its thread starts with the first, so that on the CPU there is none.

    It ends with `stop`, or when nothing refers to this object or its sessions any more.
    """

    def __init__(self) -> None:
        self._tasks: _Tasks = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = False

    def start(self, task: Callable[[], None]) -> None:
        """Have a task run behind those that wait.

        Args:
            task: must not raise.

        Raises:
            NotReady: the thread was stopped.
        """
        with self._lock:
            if self._stopped:
                raise NotReady("the device has been stopped")
            if self._thread is None:
                # A daemon: a run that hangs must not keep the process from ending.
                self._thread = threading.Thread(target=_serve, args=[self._tasks], name="device", daemon=True)
                self._thread.start()
                weakref.finalize(self, self._tasks.put, None).atexit = False
            self._tasks.put(task)

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function behind what waits, and return what it returns; at once where the caller is this thread.

        Raises:
            NotReady: the thread was stopped.
            Exception: whatever the function raises.
        """
        if threading.current_thread() is self._thread:
            return function(*args, **kwargs)
        answer: Future[T] = Future()

        def task() -> None:
            try:
                answer.set_result(function(*args, **kwargs))
            except BaseException as error:  # noqa: BLE001 - it is the caller's
                answer.set_exception(error)

        self.start(task)
        return answer.result()

    def free_with(self, owner: object, session: LoadedGraph) -> None:
        """Free a session on the thread once its owner has gone, wherever that happens."""
        # The queue, unlike `start`, may be called by the garbage collector at any moment.
        weakref.finalize(owner, self._tasks.put, partial(_let_go, session)).atexit = False

    def stop(self) -> None:
        """End the thread behind the tasks that wait, and take no more."""
        with self._lock:
            self._stopped = True
            self._tasks.put(None)


def _serve(tasks: _Tasks) -> None:
    while (task := tasks.get()) is not None:
        task()
        del task  # while the thread waits, it holds nothing of what it ran


def _let_go(session: LoadedGraph) -> None:
    """The task held its last reference."""


class OnDevice:
    """A session that is run and freed on the device's thread, whichever thread asks: a `LoadedGraph`."""

    def __init__(self, session: LoadedGraph, device: DeviceThread) -> None:
        self._session = session
        self._device = device
        device.free_with(self, session)

    @property
    def graph(self) -> str:
        """The graph's role in the package."""
        return self._session.graph

    @property
    def runtime(self) -> str:
        """The library and its version."""
        return self._session.runtime

    @property
    def provider(self) -> str:
        """What really runs the graph."""
        return self._session.provider

    @property
    def precision(self) -> Precision:
        """Of its arithmetic."""
        return self._session.precision

    def compute(self, feeds: Feeds, outputs: Sequence[str]) -> Outputs:
        """As `Runner.compute`."""
        return self._device.call(self._session.compute, feeds, outputs)
