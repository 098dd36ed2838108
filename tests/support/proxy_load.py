"""Callers of a proxy who know every answer: small requests one after the other, and readers of streams who wait."""

import hashlib
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Literal, Self

import httpx

from tests.support.proxies import RunningProxy
from tests.support.serving import TIMEOUT_S

# right: the known bytes; refused: an error that says so; lost: no answer began; cut: one began, and its end is missing;
# short: the same, but it looks as if it were whole.
Outcome = Literal["right", "refused", "lost", "cut", "short", "wrong"]
LAST_WORDS: Final = 160
CALLERS: Final = 2


@dataclass(frozen=True)
class Question:
    """A request with its answer.

    Attributes:
        method: HTTP's.
        path: with its query.
        body: JSON, where it has one.
        size: of the answer, in bytes.
        sha256: of the answer.
    """

    method: str
    path: str
    body: Mapping[str, object] | None
    size: int
    sha256: str


@dataclass
class Account:
    """What became of every request to one proxy.

    Attributes:
        small: requests of a few bytes, by what was asked and what became of it.
        streams: long ones.
        refusals: status and `Retry-After` of those refused.
        words: of refusals, for those who read a failed test.
    """

    small: Counter[tuple[str, Outcome]] = field(default_factory=Counter)
    streams: Counter[Outcome] = field(default_factory=Counter)
    refusals: Counter[tuple[int, str | None]] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)

    @property
    def failed(self) -> dict[tuple[str, Outcome], int]:
        """Small requests that were not answered as they should be."""
        return {what: count for what, count in self.small.items() if what[1] != "right"}

    @property
    def wrong(self) -> int:
        """Answers that were whole, and other bytes."""
        return sum(count for what, count in self.small.items() if what[1] == "wrong") + self.streams["wrong"]


class Load:
    """Callers of some proxies; leaving the block ends them.

    Args:
        proxies: by name.
        questions: asked in turn.
        streams: each is read by one caller of each proxy, who takes its beginning and waits.

    Attributes:
        accounts: by the proxy's name.
    """

    def __init__(
        self, proxies: Mapping[str, RunningProxy], questions: Sequence[Question], streams: Sequence[Question]
    ) -> None:
        self.accounts = {name: Account() for name in proxies}
        self._lock = threading.Lock()
        self._ends, self._read_on = threading.Event(), threading.Event()
        self._begun = threading.Barrier(1 + len(proxies) * len(streams))
        turns = itertools.count()
        self._threads = [
            threading.Thread(target=self._ask, args=(name, proxy, questions, turns))
            for name, proxy in proxies.items()
            for _ in range(CALLERS)
        ] + [
            threading.Thread(target=self._read, args=(name, proxy, stream))
            for name, proxy in proxies.items()
            for stream in streams
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        self._begun.wait(TIMEOUT_S)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.read_on()
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def read_on(self) -> None:
        """Have the readers take the rest."""
        self._read_on.set()

    def _ask(
        self, name: str, proxy: RunningProxy, questions: Sequence[Question], turns: "itertools.count[int]"
    ) -> None:
        with proxy.client() as client:
            client.headers["x-request-id"] = f"load-{name}"
            while not self._ends.is_set():
                question = questions[next(turns) % len(questions)]
                outcome = self._outcome(name, client, question)
                with self._lock:
                    self.accounts[name].small[question.method, outcome] += 1

    def _read(self, name: str, proxy: RunningProxy, stream: Question) -> None:
        def wait() -> None:
            self._begun.wait(TIMEOUT_S)
            self._read_on.wait(TIMEOUT_S)

        with proxy.client() as client:
            outcome = self._outcome(name, client, stream, wait)
        with self._lock:
            self.accounts[name].streams[outcome] += 1

    def _outcome(
        self, name: str, client: httpx.Client, question: Question, begun: Callable[[], None] = lambda: None
    ) -> Outcome:
        started = False
        try:
            with client.stream(question.method, question.path, json=question.body) as answer:
                started = True
                seen, size, last = hashlib.sha256(), 0, b""
                for number, piece in enumerate(answer.iter_raw()):
                    seen.update(piece)
                    size, last = size + len(piece), piece
                    if number == 0:
                        begun()
        except httpx.TransportError:
            return "cut" if started else "lost"
        if answer.status_code != httpx.codes.OK:
            with self._lock:
                self.accounts[name].refusals[answer.status_code, answer.headers.get("retry-after")] += 1
                self.accounts[name].words[last[:LAST_WORDS].decode("latin-1")] += 1
            return "refused"
        if size < question.size:
            return "short"
        return "right" if seen.hexdigest() == question.sha256 else "wrong"
