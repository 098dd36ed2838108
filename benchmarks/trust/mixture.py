"""A mixed load whose every answer is known: requests of all forms, callers who leave, packages that come and go.

    a fresh service ─▶ every request twice ─▶ expected status, body and ETag
    the soaked service ─▶ callers repeat them in random order ─▶ equal, or wrong

All requests send the same X-Request-ID, so that even refusals have known bytes. One package is published and retired
all the time; its versions are alike, so what it answers is known as well.
"""

import http.client
import io
import json
import random
import shutil
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from benchmarks.contenders.server import ANSWER_TIMEOUT_S, HOST
from benchmarks.load.closed_loop import LoadFailed
from benchmarks.trust.targets import PACKAGES, array_file, form, head_of, inference_bodies

ID: Final = "soak"
COMES_AND_GOES: Final = "reloaded"
OF_IT: Final = "plain"  # whose versions are published under that name
RELOAD_S: Final = 2.0
# Of one version, with which all callers are answered before the older one is retired.
LOAD_TIMEOUT_S: Final = 60.0
LARGE_N: Final = 20_000
PIXELS: Final = (6, 4)
MOST_WORDS: Final = 20  # wrong answers that are told in words


@dataclass(frozen=True)
class Call:
    """One request.

    Attributes:
        name: of its kind, in the results.
        may: statuses that are no fault, beside the expected one, and are counted apart.
    """

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    may: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Known:
    """What a call is answered."""

    status: int
    etag: str | None
    body: bytes


Answers = Sequence[tuple[Call, Known]]


def calls(keys: Mapping[str, str]) -> list[Call]:
    """All requests of the load.

    Args:
        keys: name → key, of `soak` and `limited`, which has a quota; none where the service asks for none.
    """
    known = [*_generated(), *_judged(), *_inferred(), *_refused()]
    if not keys:
        return known
    own = {"x-api-key": keys["soak"]}
    limited = Call(
        "quota", "POST", "/generate?format=npy", b'{"seed": 5, "n": 8}', {"authorization": f"Bearer {keys['limited']}"},
        frozenset({HTTPStatus.TOO_MANY_REQUESTS}),
    )  # fmt: skip
    nobody = Call("no key", "POST", "/generate", b"{}")
    wrong = Call("wrong key", "POST", "/generate", b"{}", {"x-api-key": "x" * 43})
    return [
        *(Call(each.name, each.method, each.path, each.body, {**each.headers, **own}, each.may) for each in known),
        limited, nobody, wrong,
    ]  # fmt: skip


def _post(name: str, path: str, body: Mapping[str, object]) -> Call:
    return Call(name, "POST", path, json.dumps(body).encode(), {"content-type": "application/json"})


def _behind_head(name: str, path: str, content: bytes) -> Call:
    """A call whose headers and body were written together."""
    headers, body = head_of(content)
    return Call(name, "POST", path, body, {key: value for key, value in headers.items() if key != "content-length"})


def _generated() -> Iterator[Call]:
    for name in ("json", "png", "webp", "jpeg", "npy", "zip"):
        yield _post(name, f"/generate?format={name}", {"n": 5, "seed": 7})
    yield _post("float32", "/generate?format=npy&dtype=float32", {"seeds": "0-3,99"})
    yield _post("stream", "/generate?format=npy", {"n": 3_000, "seed": 1})
    yield _post("labels", "/generate", {"model": "conditional", "labels": [0, 1], "seed": 3, "n": 2, "scores": True})
    yield _post("codes", "/generate", {"model": "codes", "n": 3, "seed": 4, "codes": {"kind_0": 2, "number_0": 0.5}})
    yield _post("truncation", "/generate?format=png", {"n": 4, "seed": 4, "truncation": 0.7})
    for method in ("best-of", "rejection", "metropolis-hastings"):
        yield _post("select", "/generate", {"n": 2, "seed": 7, "select": {"method": method, "candidates": 8}})
    yield _post("walk", "/generate?format=webp", {"interpolate": {"from": 7, "to": 8, "steps": 9}})
    yield _post("latents", "/generate", {"model": "pairs", "latents": [[0.1, -0.2, 0.3, 0.4]]})
    yield _post("vectors", "/generate", {"model": "vectors", "n": 3, "seed": 1})
    yield _post("reloaded", "/generate?format=npy", {"model": COMES_AND_GOES, "n": 3, "seed": 7})
    for suffix in ("png", "webp", "jpg", "npy"):
        yield Call("sample URL", "GET", f"/models/plain/versions/1/samples/7.{suffix}")


def _judged() -> Iterator[Call]:
    chance = np.random.default_rng(0)
    pixels = chance.integers(0, 256, PIXELS, np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    image = written.getvalue()
    png = {"content-type": "image/png"}
    npy = {"content-type": "application/x-npy"}
    yield Call("score", "POST", "/score?model=plain", image, png)
    yield _behind_head("score", "/score?model=plain", form(image, image))
    yield Call("score", "POST", "/score?model=plain", array_file(pixels[None, ..., None]), npy)
    yield _post("score", "/score", {"model": "plain", "samples": [[0.25] * 24]})
    yield Call("encode", "POST", "/encode?model=pairs", image, png)
    yield Call("encode", "POST", "/encode?model=codes", image, png)
    for name in ("json", "png", "npy"):
        yield Call("reconstruct", "POST", f"/reconstruct?model=pairs&format={name}", image, png)


def _inferred() -> Iterator[Call]:
    text, binary, seeded, packed, _ = inference_bodies()
    for content in (text, seeded):
        yield _behind_head("V2 JSON", "/v2/models/codes/infer", content)
    yield _behind_head("V2 binary", "/v2/models/codes/infer", binary)
    yield _behind_head("V2 compressed", "/v2/models/codes/infer", packed)
    yield Call("V2 metadata", "GET", "/v2/models/codes")


def _refused() -> Iterator[Call]:
    yield _post("bad request", "/generate", {"n": 0})
    yield _post("bad request", "/generate", {"unknown": [1] * 300})
    yield _post("bad request", "/generate", {"model": "conditional", "label": 99})
    yield _post("bad request", "/generate?format=gif", {})
    yield Call("bad request", "POST", "/generate", b"{", {"content-type": "application/json"})
    yield Call("bad request", "POST", "/score?model=plain", b"no image", {"content-type": "image/png"})
    yield Call("bad request", "POST", "/v2/models/codes/infer", b"{}", {"inference-header-content-length": "9"})
    yield Call("bad request", "GET", "/no/such/path")
    yield Call("bad request", "DELETE", "/generate")


class Caller:
    """One persistent connection, opened again where it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection(HOST, port, timeout=ANSWER_TIMEOUT_S)

    def ask(self, call: Call) -> Known:
        """Send a call, and read its answer.

        Raises:
            OSError: the connection broke.
            http.client.HTTPException: as well.
        """
        self._connection.request(call.method, call.path, call.body or None, {**call.headers, "x-request-id": ID})
        answer = self._connection.getresponse()
        return Known(answer.status, answer.getheader("etag"), answer.read())

    def follow(self, call: Call) -> tuple[Call, Known]:
        """As `ask`, but where a sample's URL is answered by another one, that is asked."""
        known = self.ask(call)
        if known.status != HTTPStatus.TEMPORARY_REDIRECT:
            return call, known
        self._connection.request(call.method, call.path, None, {**call.headers, "x-request-id": ID})
        answer = self._connection.getresponse()
        answer.read()
        folder = call.path.rpartition("/")[0]
        final = Call(call.name, call.method, f"{folder}/{answer.getheader('location')}", headers=call.headers)
        return final, self.ask(final)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def expect(port: int, asked: Sequence[Call]) -> Answers:
    """Ask a fresh service every call twice.

    Returns:
        What each is answered; sample URLs in their final form, and once more for a caller who has the sample.

    Raises:
        LoadFailed: two answers differ, so that none is known, or one is a fault.
    """
    found: list[tuple[Call, Known]] = []
    with closing(Caller(port)) as caller:
        for call in asked:
            final, known = caller.follow(call)
            if known.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                raise LoadFailed(f"a fresh service answers {known.status} to {call.method} {call.path}: {known.body!r}")
            if caller.ask(final) != known:
                raise LoadFailed(f"{call.method} {call.path} is answered with other bytes the second time")
            found.append((final, known))
            if known.etag is not None:
                again = Call("conditional", "GET", final.path, headers={**final.headers, "if-none-match": known.etag})
                found.append((again, caller.ask(again)))
    return found


@dataclass
class Tally:
    """What callers saw, of all of them together.

    Attributes:
        asked: calls by name.
        apart: answers that were allowed and are no expected one, by name and status.
        faults: how many answers were wrong, 5xx (wrong as well) or lost.
        words: of the first of them.
    """

    asked: Counter[str] = field(default_factory=Counter)
    apart: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    words: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, call: Call, known: Known, given: Known) -> None:
        """Compare an answer with what is known."""
        with self.lock:
            self.asked[call.name] += 1
            if given == known:
                return
            if given.status in call.may:
                self.apart[f"{call.name}: {given.status}"] += 1
                return
            self.faults["5xx"] += given.status >= HTTPStatus.INTERNAL_SERVER_ERROR
            self._note("wrong", f"{call.method} {call.path}: {given.status} {given.body[:200]!r}, not {known.status}")

    def lost(self, call: Call, error: Exception) -> None:
        """Count a call that was not answered."""
        with self.lock:
            self.asked[call.name] += 1
            self._note("lost", f"{call.method} {call.path}: {error!r}")

    def _note(self, kind: str, words: str) -> None:
        self.faults[kind] += 1
        if len(self.words) < MOST_WORDS:
            self.words.append(words)


def repeat(port: int, known: Answers, tally: Tally, seed: int, until: threading.Event) -> None:
    """Ask calls in random order on one connection, until told to end."""
    chance = random.Random(seed)  # noqa: S311 - a load, not a secret
    with closing(Caller(port)) as caller:
        while not until.is_set():
            call, expected = chance.choice(known)
            try:
                tally.count(call, expected, caller.ask(call))
            except (OSError, http.client.HTTPException) as error:
                tally.lost(call, error)
                caller.close()


def leave(port: int, headers: Mapping[str, str], tally: Tally, seed: int, until: threading.Event) -> None:
    """Send requests and leave at every phase, until told to end: in the head, the body, the queue, the answer."""
    chance = random.Random(seed)  # noqa: S311 - a load, not a secret
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    body = json.dumps({"n": LARGE_N, "seed": 3}).encode()
    head = f"POST /generate?format=npy HTTP/1.1\r\nhost: {HOST}\r\n{lines}content-length: {len(body)}\r\n\r\n".encode()
    phases: Mapping[str, tuple[bytes, int]] = {  # what is sent, and how often something is received
        "leaves before a byte": (b"", 0),
        "leaves in the head": (head[:40], 0),
        "leaves before the body": (head, 0),
        "leaves in the body": (head + body[:5], 0),
        "leaves in the queue": (head + body, 0),
        "leaves at the answer": (head + body, 1),
        "leaves in the stream": (head + body, 3),
    }
    while not until.wait(chance.uniform(0.01, 0.1)):
        name, (sent, times) = chance.choice(list(phases.items()))
        with suppress(ConnectionError), socket.create_connection((HOST, port), ANSWER_TIMEOUT_S) as connection:
            connection.sendall(sent)
            for _ in range(times):
                connection.recv(1 << 16)
        with tally.lock:
            tally.asked[name] += 1


class Publisher:
    """Publishes ever newer versions of one package under a folder of models, each by a rename."""

    def __init__(self, models: Path) -> None:
        self._folder = models / COMES_AND_GOES
        self._folder.mkdir()
        self.newest = 0

    def publish(self) -> None:
        """Publish one version more."""
        self.newest += 1
        temporary = self._folder / f".{self.newest}.tmp"
        shutil.copytree(next((PACKAGES / OF_IT).iterdir()), temporary)
        manifest = json.loads((temporary / "manifest.json").read_text(encoding="utf-8"))
        manifest |= {"name": COMES_AND_GOES, "version": self.newest}
        (temporary / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        temporary.rename(self._folder / str(self.newest))

    def retire(self, version: int) -> None:
        """Remove a version."""
        hidden = self._folder / f".{version}.old"
        (self._folder / str(version)).rename(hidden)
        shutil.rmtree(hidden)


def reload(port: int, headers: Mapping[str, str], publisher: Publisher, tally: Tally, until: threading.Event) -> None:
    """Publish a version, wait until it answers, retire the one before, until told to end."""
    page = Call("models", "GET", f"/models/{COMES_AND_GOES}", headers=headers)
    while not until.wait(RELOAD_S):
        publisher.publish()
        with closing(Caller(port)) as caller:
            for _ in range(int(LOAD_TIMEOUT_S / 0.1)):
                states = {each["version"]: each["state"] for each in json.loads(caller.ask(page).body)["versions"]}
                if states.get(str(publisher.newest)) == "ready" or until.wait(0.1):
                    break
        publisher.retire(publisher.newest - 1)
        with tally.lock:
            tally.asked["reload"] += 1


@contextmanager
def mixed_load(
    port: int, known: Answers, publisher: Publisher, headers: Mapping[str, str], callers: int
) -> Iterator[Tally]:
    """Keep the load going within the block.

    Args:
        headers: of callers who leave and of the publisher's questions: a key, where one is needed.
        callers: connections that repeat the known calls.
    """
    tally, until = Tally(), threading.Event()
    with closing(Caller(port)) as caller:  # so that whatever is made at the first request of a kind is there
        for call, expected in known:
            tally.count(call, expected, caller.ask(call))
    threads = [
        *(threading.Thread(target=repeat, args=(port, known, tally, seed, until)) for seed in range(callers)),
        threading.Thread(target=leave, args=(port, headers, tally, callers, until)),
        threading.Thread(target=reload, args=(port, headers, publisher, tally, until)),
    ]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        until.set()
        for thread in threads:
            thread.join()
