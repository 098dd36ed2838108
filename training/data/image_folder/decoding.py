"""Reads many images in worker processes, in order and in chunks.

Workers are spawned, so that they inherit no threads and locks; they import neither torch nor scikit-learn. Ctrl-C
reaches the parent alone, and a worker whose parent is gone ends.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import connection
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from training.data.image_data import Bytes
from training.data.image_folder import image_files
from training.data.image_folder.image_files import Header, Step, TargetFormat, UnreadableError
from training.data.image_folder.places import Place, Reader
from training.errors import DataError

CHUNK_IMAGES: Final = 256
CHUNK_BYTES: Final = 8 << 20  # of decoded pixels
AHEAD: Final = 2  # chunks a worker has waiting, so that it never waits itself
DIGEST_BYTES: Final = 32

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Chunk:
    """Some images, decoded.

    Attributes:
        pixels: [n, C, H, W]; zeros where an image could not be read.
        contents: [n, 32] SHA-256 of each file.
        steps: number of images for each step.
        brightest: of the values of 16-bit images.
        unreadable: why images cannot be read, by their rows.
    """

    pixels: Bytes
    contents: NDArray[np.uint8]
    steps: Counter[Step] = field(default_factory=Counter)
    brightest: int = 0
    unreadable: dict[int, str] = field(default_factory=dict)


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def headers(places: Sequence[Place], processes: int) -> Iterator[Header | str]:
    """Read the headers of images.

    Args:
        processes: 1 reads in this process.

    Yields:
        Each image's header, or why it cannot be read.

    Raises:
        DataError: if a worker ends early.
    """
    chunks = [places[start : start + CHUNK_IMAGES] for start in range(0, len(places), CHUNK_IMAGES)]
    for found in _in_order(_headers, chunks, processes):
        yield from found


def images(places: Sequence[Place], wanted: TargetFormat, processes: int) -> Iterator[Chunk]:
    """Decode images.

    Args:
        processes: 1 decodes in this process.

    Yields:
        All images in their order.

    Raises:
        DataError: if a worker ends early.
    """
    height, width = wanted.size
    count = max(1, min(CHUNK_IMAGES, CHUNK_BYTES // (wanted.channels * height * width)))
    tasks = [(places[start : start + count], wanted) for start in range(0, len(places), count)]
    return _in_order(_decode, tasks, processes)


def _headers(reader: Reader, places: Sequence[Place]) -> list[Header | str]:
    found: list[Header | str] = []
    for place in places:
        try:
            with reader.open(place) as file:
                found.append(image_files.read_header(file))
        except UnreadableError as error:
            found.append(str(error))
    return found


def _decode(reader: Reader, task: tuple[Sequence[Place], TargetFormat]) -> Chunk:
    places, wanted = task
    pixels = np.zeros((len(places), wanted.channels, *wanted.size), np.uint8)
    contents = np.zeros((len(places), DIGEST_BYTES), np.uint8)
    steps, brightest, unreadable = Counter[Step](), 0, {}
    for row, place in enumerate(places):
        try:
            content = reader.read(place)
            decoded = image_files.decode(content, wanted)
        except UnreadableError as error:
            unreadable[row] = str(error)
            continue
        pixels[row] = decoded.pixels
        contents[row] = np.frombuffer(hashlib.sha256(content).digest(), np.uint8)
        steps.update(decoded.steps)
        brightest = max(brightest, decoded.brightest)
    return Chunk(pixels, contents, steps, brightest, unreadable)


def _in_order(work: Callable[[Reader, T], R], tasks: Sequence[T], processes: int) -> Iterator[R]:
    if processes == 1 or len(tasks) == 1:
        reader = Reader()
        yield from (work(reader, task) for task in tasks)
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(processes, len(tasks)), context, initializer=_end_with_parent)
    waiting: deque[Future[R]] = deque()
    try:
        for task in tasks:
            with _interrupts_blocked():
                waiting.append(pool.submit(_in_worker, work, task))
            if len(waiting) > AHEAD * processes:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that decodes images ended early: the machine is out of memory, or the program that starts it "
            'does so outside of `if __name__ == "__main__":`'
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block Ctrl-C, which a process that is started meanwhile inherits for its life."""
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)


@cache
def _reader() -> Reader:
    return Reader()


def _in_worker(work: Callable[[Reader, T], R], task: T) -> R:
    return work(_reader(), task)
