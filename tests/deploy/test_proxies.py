"""Proxies by the files of `deploy/` before two replicas: bytes, cache, keys, prefix, a replica that ends or dies."""

import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urljoin

import httpx
import pytest

from service.access.key_file import make_key
from service.access.keys import Entry
from tests.support.browser import CHROMIUM, chromium
from tests.support.proxies import HOST, KINDS, RunningProxy, make_certificate
from tests.support.proxy_load import CALLERS, Account, Load, Question
from tests.support.serving import ROOT, TIMEOUT_S, LogLine, ServiceProcess, metric
from tests.support.toy import write_toy_package

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OPERATIONS = ROOT / "docs/operations.md"
# More than what lies in the buffers between a replica and a reader that waits.
LARGE = {"model": "large", "seed": 0, "n": 800}
LARGE_SHAPE = (72, 72, 3)
SEEDS = range(48)
# Until every proxy has seen that a replica ends, or is gone.
SEEN_S = 1.5
# That a caller keeps its body back; longer than a sample takes on a busy machine.
HELD_S = 1.0
RETRYING = ("nginx", "haproxy", "envoy")
BODIES_BYTES = 4096
MEBIBYTE = 1024 * 1024
SAMPLES = "/models/{name}/versions/{version}/samples/{seed}.{form}"
# Headers of a hop, and those that a proxy adds.
OF_PROXIES = {"date", "server", "connection", "transfer-encoding", "keep-alive", "x-cache", "alt-svc", "via",
              "x-envoy-upstream-service-time"}  # fmt: skip

every_proxy = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(not kind.program, reason=f"no {name} here: {kind.needs}"))
        for name, kind in KINDS.items()
    ],
)


def those_of(*names: str) -> pytest.MarkDecorator:
    """Tests of these proxies alone."""
    return pytest.mark.parametrize("name", [each for each in every_proxy.args[1] if each.values[0] in names])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Packages and a certificate."""
    if not any(kind.program for kind in KINDS.values()):
        pytest.skip("no proxy is installed: apt-get install nginx haproxy caddy")
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here: apt-get install openssl")
    made = tmp_path_factory.mktemp("proxies")
    write_toy_package(made / "models", "toy")
    write_toy_package(made / "models", "large", channels=3, height=72, width=72, discriminator=False)
    make_certificate(made)
    return made


def replica(folder: Path, **settings: str | int | Path) -> ServiceProcess:
    """Start a replica that answers for the proxies' name, and refuses nothing because the machine is busy."""
    return ServiceProcess(
        folder / "models", (), allowed_hosts=HOST, max_batch_samples=4, queue_wait_s=60, timeout_ms=120_000, **settings
    )


class Front:
    """Two replicas and every proxy that is installed, in front of both."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self._large: dict[str, tuple[int, str]] = {}
        with self._stack:  # what was started ends, if a later one cannot start
            self.replicas = [self._stack.enter_context(replica(folder)) for _ in range(2)]
            for each in self.replicas:
                each.loaded()
            self.ports = [each.port for each in self.replicas]
            self.proxies = {
                name: self._stack.enter_context(RunningProxy(name, self.ports, folder / name))
                for name, kind in KINDS.items()
                if kind.program
            }
            self._stack = self._stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_again(self, index: int, folder: Path) -> None:
        """Start a replica anew where one has ended."""
        self.replicas[index] = self._stack.enter_context(replica(folder, port=self.ports[index])).loaded()

    def counted(self, name: str, **labels: str) -> float:
        """Sum of a metric over the replicas."""
        total = 0.0
        for each in self.replicas:
            with each.client() as client:
                total += metric(client, name, **labels)
        return total

    def line_of(self, request_id: str) -> LogLine:
        """The log line of an answered request, of the replica that answered it."""
        end = time.monotonic() + TIMEOUT_S
        while True:  # it is written behind the answer
            for each in self.replicas:
                for line in each.lines(event="request", request_id=request_id):
                    return line
            assert time.monotonic() < end
            time.sleep(0.01)

    def large(self, form: str) -> tuple[int, str]:
        """Size and SHA-256 of the large drawing."""
        if form not in self._large:
            with self.replicas[0].client() as client:
                answer = client.post(f"/generate?format={form}", json=LARGE)
            self._large[form] = len(answer.content), hashlib.sha256(answer.content).hexdigest()
        return self._large[form]


@pytest.fixture(scope="module")
def front(folder: Path) -> Iterator[Front]:
    with Front(folder) as made:
        yield made


@dataclass(frozen=True)
class Ends:
    """What became of every request while a replica was told to end, and while the other one was killed.

    Attributes:
        drained: by the proxy's name.
        killed: by the proxy's name.
        drain_s: that the first took to end.
        ejections: of replicas by Envoy while the first ended.
        retried: requests that Envoy then had answered elsewhere.
    """

    drained: dict[str, Account]
    killed: dict[str, Account]
    drain_s: float
    ejections: int
    retried: int


@pytest.fixture(scope="module")
def ends(front: Front, folder: Path) -> Ends:
    """End one replica under load, start it again, kill the other under load."""
    questions, streams = known(front)
    first, second = front.replicas
    envoy = front.proxies.get("envoy")
    with Load(front.proxies, questions, streams) as drained:
        began = time.monotonic()
        first.terminate()
        first.wait_for("draining")
        time.sleep(SEEN_S)  # so long it refuses what is new, and has streams to finish
        drained.read_on()
        assert first.wait() == 0
        drain_s = time.monotonic() - began
        time.sleep(SEEN_S)
        ejections = 0 if envoy is None else envoy.stat("cluster.replicas.outlier_detection.ejections_enforced_total")
        retried = 0 if envoy is None else envoy.stat("cluster.replicas.upstream_rq_retry_success")
    front.start_again(0, folder)
    with Load(front.proxies, questions, streams) as killed:
        for name in front.proxies:  # each has seen that it is back
            front.replicas[0].wait_for("request", request_id=f"load-{name}")
        second.kill()
        time.sleep(2 * SEEN_S)
        killed.read_on()
        time.sleep(SEEN_S)
    front.start_again(1, folder)
    return Ends(drained.accounts, killed.accounts, drain_s, ejections, retried)


def known(front: Front) -> tuple[list[Question], list[Question]]:
    """Small requests and long ones with their answers, by a replica itself."""

    def asked(method: str, path: str, body: dict[str, object] | None = None) -> Question:
        answer = client.request(method, path, json=body)
        assert answer.status_code == 200
        return Question(method, path, body, len(answer.content), hashlib.sha256(answer.content).hexdigest())

    with front.replicas[1].client() as client:
        stack = stack_of(client)
        small = [
            question
            for seed in SEEDS
            for question in (
                asked("GET", sample_url(seed, stack)),
                asked("POST", "/generate?format=npy", {"seed": seed, "n": 2}),
                asked("GET", f"/models/toy/versions/1/samples/{seed}.npy?stack={stack}"),
                asked("POST", "/generate", {"seed": seed, "scores": True}),
            )
        ]
    large = [Question("POST", f"/generate?format={form}", LARGE, *front.large(form)) for form in ("npy", "zip")]
    return small, large


@dataclass(frozen=True)
class Keyed:
    """A service that asks for keys and has a prefix, and every proxy in front of it alone.

    Attributes:
        service: itself.
        proxies: by name.
        keys: by name; `NAME-a` and `NAME-b` have a quota.
    """

    service: ServiceProcess
    proxies: dict[str, RunningProxy]
    keys: dict[str, str]


@pytest.fixture(scope="module")
def keyed(folder: Path) -> Iterator[Keyed]:
    path = folder / "keys.toml"
    slow = Entry(sha256="0" * 64, samples_per_second=0.01, burst=5)
    keys = {f"{name}-{which}": make_key(f"{name}-{which}", slow, path)[0] for name in KINDS for which in "ab"}
    keys["free"] = make_key("free", Entry(sha256="0" * 64), path)[0]
    with ExitStack() as stack:
        service = stack.enter_context(replica(folder, keys_file=path, root_path="/gan", max_bodies_bytes=BODIES_BYTES))
        service.loaded()
        proxies = {
            name: stack.enter_context(RunningProxy(name, [service.port], folder / f"{name}-keyed"))
            for name, kind in KINDS.items()
            if kind.program
        }
        yield Keyed(service, proxies, keys)


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no Chromium is on PATH (chromium, chromium-browser, google-chrome)")
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def nginx(front: Front) -> Iterator[httpx.Client]:
    """A client of nginx."""
    if "nginx" not in front.proxies:
        pytest.skip(f"no nginx here: {KINDS['nginx'].needs}")
    with front.proxies["nginx"].client() as client:
        yield client


def of_the_service(answer: httpx.Response) -> dict[str, str]:
    return {name: value for name, value in answer.headers.items() if name not in OF_PROXIES}


def stack_of(client: httpx.Client) -> str:
    found = client.get("/models/toy/versions/1").json()["stack"]
    assert isinstance(found, str)
    return found


def sample_url(seed: int, stack: str) -> str:
    return f"/models/toy/versions/1/samples/{seed}.png?stack={stack}"


class TestAnswers:
    @every_proxy
    def test_every_answer_has_the_bytes_and_the_headers_of_the_replica(self, name: str, front: Front) -> None:
        npy = {"content-type": "application/x-npy"}
        with front.replicas[0].client() as direct, front.proxies[name].client() as client:
            pixels = direct.post("/generate?format=npy", json={"seed": 7, "n": 3}).content
            stack = stack_of(direct)
            asked: list[Callable[[httpx.Client], httpx.Response]] = [
                *(
                    lambda each, form=form: each.post(f"/generate?format={form}", json={"seed": 7, "n": 3})
                    for form in ("png", "jpeg", "webp", "npy", "zip", "json")
                ),
                lambda each: each.post("/score", content=pixels, headers=npy),
                lambda each: each.post("/v2/models/toy/infer", json={"parameters": {"seed": 7, "n": 2}, "inputs": []}),
                lambda each: each.post("/generate", json={"seed": -1}),
                lambda each: each.get(sample_url(7, stack)),
                lambda each: each.get(sample_url(7, "stale")),
                lambda each: each.get("/openapi.json"),
                lambda each: each.get("/nothing"),
            ]
            for each in (direct, client):
                each.headers["x-request-id"] = "the-same"
            for ask in asked:
                given, passed = ask(direct), ask(client)
                assert (passed.status_code, passed.content) == (given.status_code, given.content)
                assert of_the_service(passed) == of_the_service(given)

    @those_of("nginx", "haproxy", "caddy")
    def test_a_caller_who_does_not_know_the_certificate_is_not_connected(self, name: str, front: Front) -> None:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            httpx.get(f"https://127.0.0.1:{front.proxies[name].port}/healthz", trust_env=False)

    @every_proxy
    def test_a_caller_has_its_request_id_or_one_that_is_made(self, name: str, front: Front) -> None:
        with front.proxies[name].client() as client:
            for path in ("/generate", "/models/toy", sample_url(3, stack_of(client))):
                method = "POST" if path == "/generate" else "GET"
                own = client.request(method, path, headers={"x-request-id": f"mine-{name}"})
                assert own.headers.get_list("x-request-id") == [f"mine-{name}"]
                made, other = (client.request(method, path).headers["x-request-id"] for _ in range(2))
                assert made != other
        assert front.line_of(f"mine-{name}")["status"] == 200

    @every_proxy
    def test_metrics_are_for_prometheus_alone(self, name: str, front: Front) -> None:
        with front.proxies[name].client() as client:
            assert client.get("/readyz").status_code == 200
            for path in (
                "/metrics",
                "/%6detrics",
                "/metrics?a=b",
                "/./metrics",
                "/a/../metrics",
                "/metrics%3f",
                "/metrics;a",
            ):
                answer = client.get(path)
                assert (answer.status_code, "ganymede_" in answer.text) == (404, False), path

    @every_proxy
    def test_metrics_are_for_prometheus_alone_below_a_prefix_too(self, name: str, keyed: Keyed) -> None:
        with keyed.proxies[name].client() as client:
            assert client.get("/gan/readyz").status_code == 200
            for path in ("/gan/metrics", "/gan/%6detrics", "/%67an/metrics", "/gan/./metrics"):
                answer = client.get(path)
                assert (answer.status_code, "ganymede_" in answer.text) == (404, False), path

    @every_proxy
    @pytest.mark.parametrize("form", ["npy", "zip"])
    def test_a_stream_arrives_while_it_is_computed(self, name: str, form: str, front: Front) -> None:
        own = {"x-request-id": f"stream-{form}-{name}"}
        with (
            front.proxies[name].client() as client,
            client.stream("POST", f"/generate?format={form}", json=LARGE, headers=own) as answer,
        ):
            pieces = answer.iter_raw()
            first = next(pieces)
            assert not [each for each in front.replicas if each.lines(event="request", request_id=own["x-request-id"])]
            digest = hashlib.sha256(first)
            for piece in pieces:
                digest.update(piece)
        assert digest.hexdigest() == front.large(form)[1]


class TestTheCacheOfNginx:
    def test_a_sample_that_is_kept_reaches_no_replica(self, nginx: httpx.Client, front: Front) -> None:
        stack = stack_of(nginx)
        url = sample_url(1000, stack)
        before = front.counted("ganymede_requests_total", route=SAMPLES)
        first = nginx.get(url)
        assert (first.status_code, first.headers["x-cache"]) == (200, "MISS")
        assert front.counted("ganymede_requests_total", route=SAMPLES) == before + 1
        again = [nginx.get(url) for _ in range(20)]
        assert {each.headers["x-cache"] for each in again} == {"HIT"}
        assert {each.content for each in again} == {first.content}
        assert {each.headers["cache-control"] for each in again} == {"public, max-age=31536000, immutable"}
        assert {each.headers["etag"] for each in again} == {f'"{hashlib.sha256(first.content).hexdigest()}"'}
        head = nginx.head(url)
        assert (head.status_code, head.headers["x-cache"], head.headers["etag"]) == (200, "HIT", first.headers["etag"])
        assert front.counted("ganymede_requests_total", route=SAMPLES) == before + 1

    @pytest.mark.parametrize("given", ["{etag}", "W/{etag}", '"other", {etag}'])
    def test_who_has_the_bytes_is_told_so_by_the_cache(self, given: str, nginx: httpx.Client, front: Front) -> None:
        url = sample_url(1001, stack_of(nginx))
        etag = nginx.get(url).headers["etag"]
        answered = front.counted("ganymede_requests_total", route=SAMPLES)
        kept = nginx.get(url, headers={"if-none-match": given.format(etag=etag)})
        assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", etag)
        assert kept.headers["cache-control"] == "public, max-age=31536000, immutable"
        other = nginx.get(url, headers={"if-none-match": '"other"'})
        assert (other.status_code, other.headers["x-cache"]) == (200, "HIT")
        assert front.counted("ganymede_requests_total", route=SAMPLES) == answered

    def test_what_many_ask_for_at_once_is_drawn_once(self, nginx: httpx.Client, front: Front) -> None:
        url = sample_url(1002, stack_of(nginx))
        before = front.counted("ganymede_requests_total", route=SAMPLES)
        with ThreadPoolExecutor(16) as callers:
            found = list(callers.map(lambda _: nginx.get(url), range(16)))
        assert len({each.content for each in found}) == 1
        assert front.counted("ganymede_requests_total", route=SAMPLES) == before + 1

    def test_what_may_change_is_not_kept(self, nginx: httpx.Client) -> None:
        for url in (
            sample_url(1003, "stale"),
            "/models/toy/versions/1/samples/1003.png",
            sample_url(1003, "") + "&label=3",
        ):
            assert [nginx.get(url).headers.get("x-cache") for _ in range(2)] == ["MISS", "MISS"]
        for url in ("/models/toy", "/openapi.json", "/"):
            assert "x-cache" not in nginx.get(url).headers


@those_of("haproxy", "caddy", "envoy")
def test_who_has_the_bytes_is_told_so_by_the_replica(name: str, front: Front) -> None:
    with front.proxies[name].client() as client:
        url = sample_url(1004, stack_of(client))
        etag = client.get(url).headers["etag"]
        kept = client.get(url, headers={"if-none-match": etag})
        assert (kept.status_code, kept.content, kept.headers["etag"]) == (304, b"", etag)


class TestAwkwardCallers:
    @every_proxy
    def test_a_body_beyond_the_limit_is_refused_and_one_below_it_is_read(self, name: str, front: Front) -> None:
        with front.proxies[name].client() as client:
            large = client.post("/score", content=bytes(12 * MEBIBYTE), headers={"content-type": "image/png"})
            assert large.status_code == 422, large.text  # it is no image
            beyond = client.post("/score", content=bytes(17 * MEBIBYTE), headers={"content-type": "image/png"})
            assert beyond.status_code == 413

    @every_proxy
    def test_an_offer_of_another_protocol_is_not_taken(self, name: str, front: Front) -> None:
        with front.proxies[name].client() as client:
            for protocol in ("websocket", "h2c"):
                offer = {
                    "connection": "Upgrade, HTTP2-Settings",
                    "upgrade": protocol,
                    "http2-settings": "AAMAAABkAAQAAP__",
                }
                answer = client.post("/generate?format=png", json={"seed": 7}, headers=offer)
                # Envoy refuses what it is not told to take.
                assert answer.status_code == (403 if name == "envoy" and protocol == "websocket" else 200), answer.text
            assert client.post("/generate?format=png", json={"seed": 7}).status_code == 200

    @every_proxy
    def test_requests_that_are_sent_at_once_are_answered_in_their_order(self, name: str, front: Front) -> None:
        with front.replicas[0].client() as direct:
            wanted = [direct.get(sample_url(seed, stack_of(direct))).content for seed in range(8)]
            paths = [sample_url(seed, stack_of(direct)) for seed in range(8)]
        sent = "".join(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n" for path in paths[:-1])
        sent += f"GET {paths[-1]} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n"
        received = front.proxies[name].exchange(sent.encode())
        assert received.count(b"HTTP/1.1 200 OK") == len(wanted)
        places = [received.find(each) for each in wanted]
        assert places == sorted(places)
        assert -1 not in places

    @every_proxy
    @pytest.mark.parametrize(
        "framing",
        [
            "Content-Length: {length}\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: {length}",
            "Transfer-Encoding: xchunked\r\nContent-Length: {length}",
            "Transfer-Encoding : chunked\r\nContent-Length: {length}",
            "Content-Length: 5\r\nContent-Length: {length}",
            "Content-Length: +{length}",
        ],
    )
    def test_no_request_is_hidden_in_the_body_of_another(self, name: str, framing: str, front: Front) -> None:
        path = f"/hidden-{name}-{hashlib.sha256(framing.encode()).hexdigest()}"
        hidden = f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n"
        body = f"0\r\n\r\n{hidden}"
        head = f"POST /generate HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\n"
        received = front.proxies[name].exchange(f"{head}{framing.format(length=len(body))}\r\n\r\n{body}".encode())
        with front.proxies[name].client() as client:
            assert client.get("/models").status_code == 200  # not the answer to what was hidden
        seen = [each for each in front.replicas if each.lines(path=path)]
        # A proxy that ends the request where its chunks end has read the next one itself: it is not hidden.
        assert len(seen) <= received.count(b"HTTP/1.1 404")
        assert b"HTTP/1.1 200" not in received.partition(b"HTTP/1.1 404")[2]

    @those_of("nginx", "haproxy")
    def test_a_body_that_does_not_come_holds_no_replica(self, name: str, front: Front) -> None:
        head = (
            f"POST /generate HTTP/1.1\r\nHost: {HOST}\r\nX-Request-ID: slow-{name}\r\n"
            "Content-Type: application/json\r\nContent-Length: 12\r\n\r\n"
        )
        with front.proxies[name].connect() as slow:
            slow.sendall(head.encode() + b'{"seed"')
            with front.proxies[name].client() as client:
                assert client.post("/generate", json={"seed": 7}).status_code == 200
            time.sleep(HELD_S)
            slow.sendall(b": 7 }")
            assert slow.recv(4096).startswith(b"HTTP/1.1 200")
        took_ms = front.line_of(f"slow-{name}")["duration_ms"]
        assert isinstance(took_ms, float)
        assert took_ms < HELD_S * 1000


class TestKeys:
    @every_proxy
    def test_a_key_passes_and_its_quota_is_its_own(self, name: str, keyed: Keyed) -> None:
        with keyed.proxies[name].client() as client:
            unknown = client.post("/generate", json={})
            assert (unknown.status_code, unknown.headers["www-authenticate"]) == (401, "Bearer")
            first, second = ({"authorization": f"Bearer {keyed.keys[f'{name}-{which}']}"} for which in "ab")
            drawn = client.post("/generate", json={"n": 5}, headers=first)
            assert (drawn.status_code, "ratelimit" in drawn.headers) == (200, True)
            refused = client.post("/generate", json={"n": 5}, headers=first)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) > 400  # 5 samples at one in 100 s
            assert client.post("/generate", json={"n": 5}, headers=second).status_code == 200
            assert client.post("/generate", json={"n": 5}, headers={"x-api-key": keyed.keys["free"]}).status_code == 200
        keyed.service.wait_for("request", path="/generate", key=f"{name}-a", status=429)
        assert len(keyed.service.lines(event="request", path="/generate", key=f"{name}-a")) == 2  # none tried again

    def test_a_sample_of_a_caller_with_a_key_is_kept_for_no_other(self, keyed: Keyed) -> None:
        if "nginx" not in keyed.proxies:
            pytest.skip(f"no nginx here: {KINDS['nginx'].needs}")
        with keyed.proxies["nginx"].client() as client:
            key = {"x-api-key": keyed.keys["free"]}
            url = sample_url(7, client.get("/models/toy/versions/1", headers=key).json()["stack"])
            found = [client.get(url, headers=key) for _ in range(2)]
            assert [(each.status_code, each.headers["x-cache"]) for each in found] == [(200, "MISS")] * 2
            assert found[0].headers["cache-control"].startswith("private")
            assert client.get(url).status_code == 401

    @every_proxy
    def test_what_every_replica_refuses_is_refused_and_nothing_else_is(self, name: str, keyed: Keyed) -> None:
        with keyed.proxies[name].client() as client:
            client.headers["x-api-key"] = keyed.keys["free"]
            for _ in range(20):
                refused = client.post("/score", content=bytes(2 * BODIES_BYTES), headers={"content-type": "image/png"})
                assert refused.status_code == 503, refused.text
                assert int(refused.headers["retry-after"]) >= 1
                assert client.post("/generate", json={"seed": 7}).status_code == 200


class TestWhoTheCallerIs:
    def test_no_caller_from_elsewhere_is_taken_for_a_program_on_this_host(self, nginx: httpx.Client) -> None:
        for given in ({}, {"x-forwarded-for": "127.0.0.1"}, {"x-forwarded-for": "127.0.0.1, 127.0.0.1"},
                      {"forwarded": "for=127.0.0.1", "x-real-ip": "127.0.0.1"}):  # fmt: skip
            asked = nginx.post("/v2/repository/index", headers={"x-caller": "203.0.113.9", **given})
            assert asked.status_code == 403, given
        assert nginx.post("/v2/repository/index").status_code == 200

    @every_proxy
    def test_an_address_that_a_caller_names_stands_before_its_own(self, name: str, front: Front) -> None:
        with front.proxies[name].client() as client:
            own = client.post("/v2/repository/index").status_code
            named = client.post("/v2/repository/index", headers={"x-forwarded-for": "203.0.113.9"}).status_code
            # Caddy writes the header anew; Envoy names this host by its address in the network.
            assert (own, named) == {"caddy": (200, 200), "envoy": (403, 403)}.get(name, (200, 403))


class TestTheEndOfAReplica:
    @every_proxy
    def test_no_answer_is_wrong_and_none_is_short_without_saying_so(self, name: str, ends: Ends) -> None:
        for account in (ends.drained[name], ends.killed[name]):
            assert account.wrong == 0
            # Caddy 2.6 ends an answer of unstated length as if it were whole: a ZIP that no reader opens.
            assert account.streams["short"] == 0 or (name == "caddy" and account is ends.killed[name])
            assert account.small["GET", "right"] > 0
            assert account.small["POST", "right"] > 0
            assert account.streams.total() == 2

    @those_of(*RETRYING)
    def test_one_that_is_told_to_end_under_load_costs_no_request(self, name: str, ends: Ends) -> None:
        account = ends.drained[name]
        assert account.failed == {}, account
        assert account.streams == {"right": 2}, account
        assert ends.drain_s > SEEN_S

    @those_of("caddy")
    def test_caddy_hands_on_that_it_ends_until_it_has_looked(self, name: str, ends: Ends) -> None:
        account = ends.drained[name]
        assert {outcome for _, outcome in account.failed} <= {"refused"}, account
        assert {status for status, _ in account.refusals} <= {503}
        assert None not in {retry_after for _, retry_after in account.refusals}
        assert account.streams == {"right": 2}, account

    @those_of(*RETRYING)
    def test_one_that_is_killed_under_load_costs_the_answers_that_it_had_begun(self, name: str, ends: Ends) -> None:
        account = ends.killed[name]
        assert set(account.failed) <= {("GET", "cut"), ("POST", "cut")}, account
        assert sum(account.failed.values()) <= CALLERS
        assert set(account.streams) <= {"right", "cut"}

    @those_of("caddy")
    def test_caddy_tries_again_what_is_get_or_was_not_sent(self, name: str, ends: Ends) -> None:
        account = ends.killed[name]
        assert {status for status, _ in account.refusals} <= {502}, account
        assert {method for method, outcome in account.failed if outcome == "refused"} <= {"POST"}, account

    def test_streams_of_the_killed_replica_were_cut(self, ends: Ends) -> None:
        if len(ends.killed) < len(RETRYING):
            pytest.skip(
                "with few proxies the other replica may have had all streams; nginx, haproxy and envoy are many"
            )
        assert sum(account.streams["cut"] for account in ends.killed.values()) >= 1
        assert sum(account.streams["right"] for account in ends.killed.values()) >= 1

    def test_envoy_leaves_out_the_one_that_refuses_and_asks_another(self, ends: Ends) -> None:
        if "envoy" not in ends.drained:
            pytest.skip(f"no envoy here: {KINDS['envoy'].needs}")
        assert ends.ejections >= 1
        assert ends.retried >= 1


class TestAPrefix:
    @every_proxy
    def test_a_proxy_may_remove_it(self, name: str, front: Front, folder: Path) -> None:
        with (
            RunningProxy(name, front.ports, folder / f"{name}-strips", strips=True) as proxy, proxy.client() as client
        ):  # fmt: skip
            reach_everything_below_a_prefix(client)
        assert KINDS[name].prefix[0] in OPERATIONS.read_text(encoding="utf-8")

    @every_proxy
    def test_or_leave_it(self, name: str, keyed: Keyed) -> None:
        with keyed.proxies[name].client() as client:
            client.headers["x-api-key"] = keyed.keys["free"]
            reach_everything_below_a_prefix(client)

    @pytest.mark.parametrize("strips", [True, False])
    def test_the_playground_draws_below_it(
        self,
        strips: bool,
        front: Front,
        keyed: Keyed,
        folder: Path,
        browser: "Browser",
    ) -> None:
        if "nginx" not in front.proxies:
            pytest.skip(f"no nginx here: {KINDS['nginx'].needs}")
        with ExitStack() as stack:
            if strips:
                proxy = stack.enter_context(RunningProxy("nginx", front.ports, folder / "played", strips=True))
            else:
                proxy = keyed.proxies["nginx"]
            context = browser.new_context(ignore_https_errors=True)
            stack.callback(context.close)
            page = context.new_page()
            asked: list[str] = []
            page.on("response", lambda answer: asked.append(f"{answer.status} {answer.url}"))
            page.goto(f"https://127.0.0.1:{proxy.port}/gan" + "/" * strips)
            if strips:
                page.wait_for_selector(".wall:not(.stale) .tile", timeout=15_000)
            else:
                page.wait_for_selector("input[type=password]", timeout=15_000)
            assert all(f"127.0.0.1:{proxy.port}/gan" in each for each in asked), asked
            assert not [each for each in asked if each.startswith(("404", "5"))]


def reach_everything_below_a_prefix(client: httpx.Client) -> None:
    drawn = client.post("/gan/generate?format=png", json={"seed": 7})
    assert drawn.status_code == 200
    found = client.get("/gan/models/toy/versions/1/samples/7.png")
    assert found.status_code == 307
    kept = client.get(urljoin(str(found.url.path), found.headers["location"]))
    assert (kept.status_code, kept.content) == (200, drawn.content)
    page = client.get("/gan/docs").text
    for address in re.findall(r'(?:src|href)="([^"]+)"', page):
        assert client.get(urljoin("/gan/docs", address)).status_code == 200
    document = client.get("/gan/openapi.json").json()
    (server,) = document["servers"]
    assert urljoin("/gan/openapi.json", server["url"]) == "/gan/"
    playground = client.get("/gan/").text
    for address in re.findall(r'(?:src|href)="([^"#]+)"', playground):
        assert client.get(urljoin("/gan/", address)).status_code == 200, address
    assert client.post("/gan/v2/models/toy/infer", json={}).json().keys() == {"error"}
