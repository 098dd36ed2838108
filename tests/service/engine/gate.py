"""A real session behind a gate that a test opens: it decides when a run ends, and whether it fails.

Shapes: n samples of a slice, Z latent coordinates.
"""

import queue
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from service.engine.batcher import Outputs, RowSource
from service.engine.session import Rows, Runtime, Session
from tests.toy import toy_graphs

PATIENCE_S = 20.0  # for what must happen: long enough for a busy machine, and never spent when all is well
LATENT_SIZE = 4
TOY = toy_graphs(latent_size=LATENT_SIZE, height=4, width=4)


def toy_session() -> Session:
    return Session("generator", TOY.generator, Runtime(device="cpu", threads=1))


def toy_latents(first: int, count: int) -> NDArray[np.float32]:
    """Latents [n, Z], different for every sample number."""
    return np.random.default_rng(0).standard_normal((first + count, LATENT_SIZE))[first:].astype(np.float32)


@dataclass(frozen=True)
class Run:
    """One session run that has begun.

    Attributes:
        slices: (request, start, stop) of each, by the names that `Gate.rows` was given.
        size: rows of the run.
        outputs: what it fetches.
    """

    slices: tuple[tuple[str, int, int], ...]
    size: int
    outputs: tuple[str, ...]


class Gate:
    """A runner that stops before each run until the test says how it ends."""

    def __init__(self) -> None:
        self._session = toy_session()
        self._asked: list[tuple[str, int, int]] = []
        self._begun: queue.Queue[Run] = queue.Queue()
        self._verdicts: queue.Queue[Literal["pass", "fail"]] = queue.Queue()

    def rows(self, request: str, latents: NDArray[np.float32]) -> RowSource:
        """A request's rows, noted when the model thread asks for them."""

        def source(start: int, stop: int) -> Rows:
            self._asked.append((request, start, stop))
            return {"latent": latents[start:stop]}

        return source

    def run(self, rows: Sequence[Rows], batch: int, outputs: Sequence[str]) -> Outputs:
        slices, self._asked = tuple(self._asked), []
        self._begun.put(Run(slices, batch, tuple(outputs)))
        if self._verdicts.get(timeout=PATIENCE_S) == "fail":
            raise RuntimeError("the device is gone")
        return self._session.run(rows, batch, outputs)

    def next_run(self) -> Run:
        """Wait for a run to begin."""
        return self._begun.get(timeout=PATIENCE_S)

    def let_pass(self) -> None:
        self._verdicts.put("pass")

    def let_fail(self) -> None:
        self._verdicts.put("fail")
