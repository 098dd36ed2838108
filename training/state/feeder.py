"""Feeds a device: draws the inputs of the next step while it computes this one, and sends them in one copy.

                  thread                      one copy                      views
    HostInputs ──────────▶ two host buffers ──────────▶ one device buffer ─────────▶ what a step takes

A copy from pageable memory waits until the device has done everything before it; one from pinned memory does not. The
requests of a step depend on which terms its objective has, so a first step is drawn directly and its requests are
recorded; `Slots` has a place for each of them. The device buffer never moves, so a captured step can read it again.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple

import torch
from torch import Tensor

from training.augmentation import NumberSource
from training.state.inputs import HostInputs, Request, RequestedNumbers

ALIGNMENT: Final = 256  # bytes, as allocations of a GPU have it
HOST_BUFFERS: Final = 2  # one is filled while the other is sent


class Place(NamedTuple):
    """Where a request's value lies in every buffer."""

    request: Request
    dtype: torch.dtype
    shape: torch.Size
    start: int
    end: int

    def view(self, buffer: Tensor) -> Tensor:
        """The value's part of a buffer of bytes, with its type and shape."""
        return buffer[self.start : self.end].view(self.dtype).view(self.shape)


def _places(asked: Sequence[tuple[Request, Tensor]]) -> Iterator[Place]:
    start = 0
    for request, value in asked:
        end = start + value.numel() * value.element_size()
        yield Place(request, value.dtype, value.shape, start, end)
        start = -(-end // ALIGNMENT) * ALIGNMENT


class Slots:
    """Buffers for the inputs of steps that ask for the same.

    Args:
        asked: the requests of such a step in order, each with an example of its value.
    """

    def __init__(self, asked: Sequence[tuple[Request, Tensor]], device: torch.device) -> None:
        self._places = list(_places(asked))
        size = self._places[-1].end
        pinned = device.type == "cuda"
        self._host = [torch.empty(size, dtype=torch.uint8, pin_memory=pinned) for _ in range(HOST_BUFFERS)]
        self._sent = [torch.cuda.Event() if pinned else None for _ in self._host]  # type: ignore[no-untyped-call]
        self._device = torch.empty(size, dtype=torch.uint8, device=device)
        self._values = [(place.request, place.view(self._device)) for place in self._places]
        self._next = 0
        self._buffer = 0

    def fill(self, host: HostInputs) -> int:
        """Draw the inputs of a step into a host buffer, once what it held has been sent.

        Returns:
            The buffer's number.
        """
        self._buffer = (self._buffer + 1) % HOST_BUFFERS
        sent = self._sent[self._buffer]
        if sent is not None:
            sent.synchronize()
        for place in self._places:
            place.view(self._host[self._buffer]).copy_(host.take(place.request))
        return self._buffer

    def send(self, buffer: int) -> None:
        """Copy a filled buffer to the device, behind the work that is queued there."""
        self._device.copy_(self._host[buffer], non_blocking=True)
        sent = self._sent[buffer]
        if sent is not None:
            sent.record()

    def rewind(self) -> None:
        """Begin with the first request again."""
        self._next = 0

    def take(self, request: Request) -> Tensor:
        """The value of the next request, on the device.

        Raises:
            RuntimeError: if it is another request than the recorded one.
        """
        planned, value = self._values[self._next]
        if planned != request:
            raise RuntimeError(f"a step asked for {request} where it had asked for {planned}")
        self._next += 1
        return value

    def numbers(self, turn: int, stream: int) -> NumberSource:
        """The random numbers of one turn and stream."""
        return RequestedNumbers(self, turn, stream)


class Feeder:
    """Fills slots ahead of time.

    Args:
        inputs: those of an iteration, on the CPU.
        slots_of: the slots of an iteration; None if there are none yet.
    """

    def __init__(self, inputs: Callable[[int], HostInputs], slots_of: Callable[[int], Slots | None]) -> None:
        self._inputs = inputs
        self._slots_of = slots_of
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="feeder")
        self._ahead: tuple[int, Slots, Future[int]] | None = None

    def send(self, iteration: int, slots: Slots) -> None:
        """Send the inputs of an iteration to the device, and begin to draw those of the next.

        Args:
            slots: of this iteration.
        """
        ahead, self._ahead = self._ahead, None
        drawn = None
        if ahead is not None:
            drawn = ahead[2].result()  # also where it is of no use: it draws from the same stream
        if ahead is None or drawn is None or ahead[:2] != (iteration, slots):
            drawn = slots.fill(self._inputs(iteration))
        slots.send(drawn)
        following = self._slots_of(iteration + 1)
        if following is not None:
            self._ahead = (iteration + 1, following, self._thread.submit(following.fill, self._inputs(iteration + 1)))

    def forget(self) -> None:
        """Throw away what was drawn ahead, which a checkpoint that is restored may contradict."""
        if self._ahead is not None:
            self._ahead[2].result()
        self._ahead = None
