"""What every stage is given and what it leaves: terms, and notes that are on disk as soon as they are made.

A borrowed card is gone after half an hour, and nothing here was tried on one before. So a part that fails costs itself
alone, a stage ends by its own clock before it is ended, and whatever was found until then can be read.
"""

import json
import os
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Literal, ParamSpec, TypeVar

from benchmarks import results
from benchmarks.results import Value

MOST_LINES: Final = 15
# Longest text of an error in the notes.
MESSAGE: Final = 400
# A part that has begun may take so long; a stage begins none within that time before its end.
LAST_PART_S: Final = 3.0

Device = Literal["cpu", "cuda"]
P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a stage may do.

    Attributes:
        out: folder for its notes.
        rehearse: on the CPU, with as little work as shows that it works.
        ends_s: the monotonic clock when its time is over.
    """

    out: Path
    rehearse: bool
    ends_s: float

    @property
    def device(self) -> Device:
        """What is computed on."""
        return "cpu" if self.rehearse else "cuda"

    @property
    def left_s(self) -> float:
        """Seconds that it still has."""
        return self.ends_s - time.monotonic()

    def pick(self, whole: T, rehearsed: T) -> T:
        """How much work: on a card, or in a rehearsal."""
        return rehearsed if self.rehearse else whole


class Notes:
    """What one stage found; each change is written at once.

    Args:
        stage: its name, and the file's.
        terms: of the stage.
    """

    def __init__(self, stage: str, terms: Terms) -> None:
        self.terms = terms
        self._path = terms.out / f"{stage}.json"
        self._began_s = time.monotonic()
        self._lines: list[str] = []
        self._failed: dict[str, str] = {}
        self._skipped: dict[str, str] = {}
        self._figures: dict[str, Value] = {}
        self._tables: dict[str, list[dict[str, object]]] = {}
        self._head: dict[str, object] = {"stage": stage, "rehearsal": terms.rehearse, "status": "not finished"}
        self._head["machine"] = results.describe()
        self._write()

    @property
    def failed(self) -> Mapping[str, str]:
        """Parts that failed, and of what."""
        return self._failed

    def row(self, table: str, **values: object) -> None:
        """Add a row."""
        self._tables.setdefault(table, []).append(values)
        self._write()

    def rows(self, table: str) -> list[dict[str, object]]:
        """The rows of a table so far."""
        return list(self._tables.get(table, []))

    def figure(self, name: str, value: Value) -> None:
        """Keep one of the values that pass marks are read from."""
        self._figures[name] = value
        self._write()

    def say(self, line: str) -> None:
        """Add a line for people; the first ones are printed when the stage has ended."""
        self._lines.append(line)
        self._write()

    def skip(self, part: str, why: str) -> None:
        """Note a part that cannot be done here."""
        self._skipped[part] = why
        self._write()

    def attempt(self, part: str, run: Callable[P, T], *given: P.args, **named: P.kwargs) -> T | None:
        """Do one part; where it fails, or time is over, the stage goes on without it.

        Returns:
            What it returned; None where it was not done or failed.
        """
        if self.terms.left_s < LAST_PART_S:
            self.skip(part, "no time was left")
            return None
        try:
            return run(*given, **named)
        except Exception as error:  # noqa: BLE001 - whatever fails on a card is to be known, and the rest as well
            traceback.print_exc()
            self._failed[part] = f"{type(error).__name__}: {error}"[:MESSAGE]
            self._write()
            return None

    def end(self, status: str) -> None:
        """Say how the stage ended."""
        self._head["status"] = status
        self._write()

    def _write(self) -> None:
        seconds = round(time.monotonic() - self._began_s, 1)
        found = self._head | {
            "seconds": seconds,
            "figures": self._figures,
            "lines": self._lines,
            "skipped": self._skipped,
            "failed": self._failed,
            "tables": self._tables,
        }
        whole = self._path.with_suffix(".part")
        whole.write_text(json.dumps(found, indent=1, ensure_ascii=False, default=str) + "\n", encoding="utf-8")
        whole.replace(self._path)


@contextmanager
def fresh_process(environment: Mapping[str, str]) -> Iterator[Executor]:
    """A process whose libraries read their environment anew; what it is given is pickled.

    Args:
        environment: beside this process's own.
    """
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            process.submit(os.getpid).result()  # starts it
            os.environ.clear()
            os.environ.update(before)
            yield process
    finally:
        os.environ.clear()
        os.environ.update(before)


def elsewhere(run: Callable[P, T], environment: Mapping[str, str], *given: P.args, **named: P.kwargs) -> T:
    """Call a function of a module in a fresh process."""
    with fresh_process(environment) as process:
        return process.submit(run, *given, **named).result()


def timed(run: Callable[[], object], repeats: int, settle: Callable[[], object] = lambda: None) -> list[float]:
    """Seconds of each of some runs.

    Args:
        run: to be timed.
        repeats: how often.
        settle: waits until what `run` began is done; part of the time.
    """
    seconds = []
    for _ in range(repeats):
        began_s = time.perf_counter()
        run()
        settle()
        seconds.append(time.perf_counter() - began_s)
    return seconds


def median(values: list[float]) -> float:
    """Of at least one value."""
    return results.spread(values).median
