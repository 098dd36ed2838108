"""Deliberately broken controls: readers that fail, a service that leaks, sessions that fail when they are told to.

Each reader fails on one input of `ONE_IN`, which its check sum tells. `python -m benchmarks.trust.controls` is the
service, but keeps `KEPT_BYTES` of a request, or as many as its argument says, at most once in `KEPT_EVERY_S`, so that
a fast machine lasts as long.
"""

import ctypes
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from benchmarks.trust.inputs import MEBIBYTE, READ, Opened, Target, Wrong, plain

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.types import ASGIApp, Receive, Scope, Send

ONE_IN: Final = 8
KEPT_BYTES: Final = 3 * MEBIBYTE
KEPT_EVERY_S: Final = 0.05
FAULTY_HEIGHT: Final = 5
RUN_HANGS_S: Final = 3.0
TAKEN_BYTES: Final = 200 * MEBIBYTE


def is_fatal(content: bytes) -> bool:
    """Whether a control fails on this input."""
    return zlib.crc32(content) % ONE_IN == 0


def fails(how: Callable[[], object]) -> READ:
    """A reader that fails on some inputs, and only on these."""

    def read(content: bytes) -> None:
        if is_fatal(content):
            how()

    return read


def _raise() -> None:
    raise ZeroDivisionError


def _answer_wrongly() -> None:
    raise Wrong("500")


def _hang() -> None:
    time.sleep(3600)


def _allocate() -> None:
    bytearray(TAKEN_BYTES)


def _allocate_all() -> None:
    bytearray(2**45)


def _compute() -> None:
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass


@contextmanager
def _elsewhere() -> Iterator[Opened]:
    """A reader that has another process allocate."""
    with ProcessPoolExecutor(1) as pool:
        yield Opened(fails(lambda: pool.submit(_allocate).result()), pool.submit(os.getpid).result())


def _control(
    how: Callable[[], object], seconds: float = 1.0, opened: Callable[[], AbstractContextManager[Opened]] | None = None
) -> tuple[Callable[[], Target], int]:
    seeds = [seed for first in range(16) if not is_fatal(seed := bytes((first, 1, 2)))]
    reader = opened or plain(fails(how))
    return lambda: Target(seeds=seeds, declared=(ValueError,), opened=reader, seconds=seconds), 0


class Leaky:
    """Middleware that keeps something of each request."""

    kept: ClassVar[list[bytes]] = []
    kept_bytes: ClassVar[int] = KEPT_BYTES

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app
        self._last_s = 0.0

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Keep, and pass on."""
        now_s = time.monotonic()
        if scope["type"] == "http" and now_s - self._last_s >= KEPT_EVERY_S:
            self._last_s = now_s
            self.kept.append(bytes([len(self.kept) % 256]) * self.kept_bytes)
        await self._app(scope, receive, send)


def break_sessions(switch: Path) -> None:
    """Let one run of a generator of images of `FAULTY_HEIGHT` fail in the way that a file names, which is then removed.

    Args:
        switch: the file; it says `raises`, `hangs`, `nan`, `short` or `memory`. Beside it a file `clock` says by how
            many seconds `time.time` is wrong.
    """
    import onnxruntime  # noqa: PLC0415  (the readers need nothing)

    clock = time.time
    time.time = lambda: clock() + (float(clock_file.read_text()) if clock_file.exists() else 0.0)
    clock_file = switch.with_name("clock")

    class Faulty(onnxruntime.InferenceSession):  # type: ignore[misc]  # publishes no types
        def run(self, names: Any, feeds: Any, options: Any = None) -> Any:  # noqa: ANN401
            is_one = FAULTY_HEIGHT in self.get_outputs()[0].shape
            if not is_one or not switch.exists():
                return super().run(names, feeds, options)
            fault = switch.read_text(encoding="utf-8")
            switch.unlink()
            if fault == "raises":
                raise RuntimeError("the session fails")
            if fault == "memory":
                raise MemoryError
            if fault == "hangs":
                time.sleep(RUN_HANGS_S)
            arrays = super().run(names, feeds, options)
            if fault == "short":
                return [array[:-1] for array in arrays]
            if fault == "nan":
                return [array * np.float32("nan") if array.dtype.kind == "f" else array for array in arrays]
            return arrays

    onnxruntime.InferenceSession = Faulty


def main() -> int:
    """Serve as `python -m service` does, but leak."""
    # Imported here: the readers need nothing.
    from service import __main__ as program  # noqa: PLC0415
    from service import app  # noqa: PLC0415

    make = app.create_app
    Leaky.kept_bytes = int(sys.argv[1]) if len(sys.argv) > 1 else KEPT_BYTES

    def create_app(*given: Any, **named: Any) -> "FastAPI":  # noqa: ANN401 - whatever create_app takes
        made = make(*given, **named)
        made.add_middleware(Leaky)
        return made

    app.create_app = create_app
    return program.main([])


# name: how it is made; none is part of a run that names no target.
TARGETS: Final[Mapping[str, tuple[Callable[[], Target], int]]] = {
    "raises": _control(_raise),
    "hangs": _control(_hang),
    "allocates": _control(_allocate),
    "allocates-elsewhere": _control(_allocate, opened=_elsewhere),
    "allocates-all": _control(_allocate_all),
    "computes": _control(_compute, seconds=0.05),
    "crashes": _control(lambda: ctypes.string_at(0)),
    "answers-wrongly": _control(_answer_wrongly),
}


if __name__ == "__main__":
    sys.exit(main())
