"""The life of one process, and the gate that its end closes.

    serving ──▶ draining
       └──────▶ failed

The service takes requests from its first moment (a model that is still loading answers for itself); once draining it
turns new ones away with 503 and waits for those it has. Health and metrics stay open to the end. `run.py` and `app.py`
move the state.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Literal

import structlog

from service.errors import NotReady, QueueFull

State = Literal["serving", "draining", "failed"]
# What orchestrators and Prometheus ask every few seconds; it still answers while the process drains.
METRICS = "/metrics"
PROBES = frozenset({"/healthz", "/readyz", METRICS, "/v2/health/live", "/v2/health/ready"})
# Long enough for an orchestrator to route around this replica, short enough not to be noticed by a person.
RETRY_AFTER_S = 2.0
# For what is cut off to be told so.
LAST_WORDS_S = 2.0

logger: structlog.typing.FilteringBoundLogger = structlog.get_logger()


class Lifecycle:
    """Where the process stands, and how many requests it has.

    A request that arrives is waited for when the process ends; one of which all is here has a slot beside.

    Args:
        max_requests: how many slots there are.
        refused: told why a request is not taken: `draining`, `max_requests`.
    """

    def __init__(self, max_requests: int = sys.maxsize, refused: Callable[[str], None] = lambda _: None) -> None:
        self._max_requests = max_requests
        self._refused = refused
        self._taken_slots = 0
        self._taken_by: Counter[str] = Counter()  # of them, by the name of a key
        self._state: State = "serving"
        # Each with its end, where anybody waits for it: a future costs more than counting.
        self._requests: dict[object, asyncio.Future[None] | None] = {}
        self._failed = asyncio.Event()
        self._is_over = False
        self._cut_off: set[Callable[[], None]] = set()

    @property
    def state(self) -> State:
        """Where the process stands."""
        return self._state

    @property
    def in_flight(self) -> int:
        """How many requests arrive or are being answered."""
        return len(self._requests)

    def failed(self) -> None:
        """A configured model cannot be served, or the device is lost; the process should end."""
        if self._state == "serving":
            self._state = "failed"
            self._failed.set()

    async def wait_failed(self) -> None:
        """Wait until `failed` is called."""
        await self._failed.wait()

    async def drain(self, timeout_s: float) -> None:
        """Turn new requests away, wait for those being answered, and cut off what is left then.

        Args:
            timeout_s: how long to wait.
        """
        if self._state == "serving":
            self._state = "draining"
        await self._wait_idle(timeout_s)
        if self._requests and not self._is_over:
            logger.warning("drain timed out", cut_off=self.in_flight, after_s=timeout_s)
            self.cut_off()
            await self._wait_idle(LAST_WORDS_S)

    def cut_off(self) -> None:
        """Wait for nothing any more: every request ends now, and its caller is told so if its answer has not begun."""
        self._is_over = True
        for cut_off in tuple(self._cut_off):
            cut_off()

    async def _wait_idle(self, timeout_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self.answered()

    async def answered(self) -> None:
        """Wait until every request that is being answered now has been; who comes later is not waited for."""
        loop = asyncio.get_running_loop()
        ends = [end or loop.create_future() for end in self._requests.values()]
        self._requests = dict(zip(self._requests, ends, strict=True))
        if ends:
            await asyncio.wait(ends)

    def check_serving(self) -> None:
        """Pass while the process takes requests.

        Raises:
            NotReady: it is ending, and why.
        """
        match self._state:
            case "serving":
                return
            case "draining":
                raise NotReady("the service is shutting down", RETRY_AFTER_S)
            case "failed":
                raise NotReady("the service cannot go on; its log says why")

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request that arrives or is being answered from now on, to its end.

        Raises:
            NotReady: the process is ending.
        """
        if self._state != "serving":
            self._refused("draining")
        self.check_serving()
        request = object()
        self._requests[request] = None
        try:
            yield
        finally:
            end = self._requests.pop(request)
            if end is not None:
                end.set_result(None)

    @contextmanager
    def slot(self, key: str | None = None) -> Iterator[None]:
        """Answer a request of which all is here, as one of the most that are answered at a time.

        Args:
            key: name of its key, of whose requests no more are answered than leave as many slots free.

        Raises:
            QueueFull: as many are being answered as may be.
        """
        if self._taken_slots >= self._max_requests:
            self._refused("max_requests")
            raise QueueFull(f"the service is answering {self._max_requests} requests, as many as it may at a time")
        if key is not None and self._taken_by[key] >= self._max_requests - self._taken_slots:
            self._refused("max_requests")
            raise QueueFull("the service is answering as many requests with this key as it may at a time")
        self._taken_slots += 1
        if key is not None:
            self._taken_by[key] += 1
        try:
            yield
        finally:
            self._taken_slots -= 1
            if key is not None:
                self._taken_by[key] -= 1

    def watch(self, cut_off: Callable[[], None]) -> None:
        """Have `cut_off` called if the process cannot wait any longer, until it is given to `unwatch`."""
        self._cut_off.add(cut_off)

    def unwatch(self, cut_off: Callable[[], None]) -> None:
        """Do not have `cut_off` called any more."""
        self._cut_off.discard(cut_off)
