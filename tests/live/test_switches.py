"""What an operator may turn on and off: pages, metrics and their port, a prefix, origins whose pages may read."""

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from service.access.key_file import make_key
from service.access.keys import Entry
from tests.support.serving import TIMEOUT_S, ServiceProcess, free_port

if TYPE_CHECKING:
    from playwright.sync_api import Page

APP = "https://app.example"
PREFLIGHT = {"access-control-request-method": "POST", "access-control-request-headers": "authorization,content-type"}


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "several processes"])
def service(
    request: pytest.FixtureRequest, models_dir: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ServiceProcess, str, int]]:
    """A service with pages off and a port for metrics, a key, and the port."""
    path, port = tmp_path_factory.mktemp("keys") / "keys.toml", free_port()
    key, _ = make_key("app", Entry(sha256="0" * 64, samples_per_second=0.01, burst=5), path)
    with ServiceProcess(
        models_dir, keys_file=path, docs="off", playground="off", metrics_port=port, cors_origins=f"{APP}, http://[::1]:3000",
        api_workers=request.param, load_models="toy", root_path="/gan",
    ) as process:  # fmt: skip
        yield process.loaded(), key, port


Switched = tuple[ServiceProcess, str, int]


def test_pages_that_are_off_are_not_there(service: Switched) -> None:
    process, key, _ = service
    with process.client(**{"x-api-key": key}) as client:
        for path in ("/docs", "/openapi.json", "/docs/assets/swagger-ui.css", "/", "/redoc"):
            assert client.get(path).status_code == 404


def test_metrics_have_a_port_of_their_own_and_nothing_else_is_on_it(service: Switched) -> None:
    process, key, port = service
    with (
        process.client(**{"x-api-key": key}) as client,
        httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers={"x-api-key": key}, timeout=TIMEOUT_S, trust_env=False
        ) as metrics,
    ):
        assert client.get("/metrics").status_code == 404
        assert client.get("/models").status_code == 200
        shown = metrics.get("/metrics", headers={"x-api-key": ""})
        assert shown.status_code == 200
        assert 'ganymede_key_requests_total{key="app"}' in shown.text
        for path in ("/healthz", "/readyz"):
            assert metrics.get(path).status_code == client.get(path).status_code == 200
        for method, path in (("POST", "/generate"), ("GET", "/models"), ("POST", "/v2/repository/index"), ("GET", "/")):
            assert metrics.request(method, path).status_code == 404


def test_what_a_proxy_forwards_with_its_prefix_is_answered_as_without(service: Switched) -> None:
    process, key, port = service
    with process.client() as client:
        assert client.get("/gan/healthz").status_code == client.get("/healthz").status_code == 200
        assert client.get("/gan/metrics").status_code == 404  # it has a port of its own
        assert httpx.get(f"http://127.0.0.1:{port}/gan/metrics", trust_env=False).status_code == 200
        for path in ("/gan/models", "/models", "/gan/%6dodels"):
            assert client.get(path).status_code == 401
        client.headers["x-api-key"] = key
        assert client.get("/gan/models").content == client.get("/models").content
        for path in ("/gan/gan/models", "/gane/models", "/gan%2fmodels/x", "/gan//models"):
            assert client.get(path).status_code == 404, path
        found = client.get("/gan/models/toy/versions/1/samples/7.png")
        assert found.headers["location"].startswith("7.png?stack=")
        assert client.get("/gan?x").headers["location"] == "gan/"
        client.headers["x-api-key"] = ""
        assert client.post("/gan/v2/models/toy/infer", json={}).json().keys() == {"error"}
    with socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S) as unread:
        unread.sendall(b"POST /gan/v2/models/toy/infer HTTP/1.1\r\n\r\n")
        assert b'{"error":' in unread.makefile("rb").read()


def test_a_page_of_a_listed_origin_may_send_a_key_and_read_the_answer(service: Switched) -> None:
    process, key, _ = service
    with process.client() as client:
        asked = client.options("/generate", headers={"origin": APP, **PREFLIGHT})
        assert (asked.status_code, asked.content) == (204, b"")
        assert asked.headers["access-control-allow-origin"] == APP
        assert "POST" in asked.headers["access-control-allow-methods"]
        assert {"authorization", "x-api-key", "content-type"} <= set(
            asked.headers["access-control-allow-headers"].split(", ")
        )
        assert (asked.headers["vary"], "access-control-max-age" in asked.headers) == ("origin", True)
        for headers, status in (({"x-api-key": key}, 200), ({}, 401), ({"x-api-key": key, "content-type": "x"}, 415)):
            answer = client.post("/generate?format=npy", content=b"{}", headers={"origin": APP, **headers})
            assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (status, APP)
            assert answer.headers["vary"] == "origin"
            exposed = answer.headers["access-control-expose-headers"].split(", ")
            assert {"x-seeds", "x-request-id", "retry-after", "ratelimit"} <= set(exposed)
            assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://app.example", f"{APP}:444", f"{APP}.evil", "null", "*", "", f"{APP}/"]
)  # fmt: skip
def test_a_page_of_another_origin_may_not(service: Switched, origin: str) -> None:
    process, key, _ = service
    with process.client(origin=origin) as client:
        assert client.options("/generate", headers=PREFLIGHT).status_code == 401  # as anything without a key
        answer = client.get("/models", headers={"x-api-key": key})
        assert answer.status_code == 200
        assert answer.headers["vary"] == "origin"
        assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_a_sample_that_needs_a_key_is_not_for_shared_caches(service: Switched) -> None:
    process, key, _ = service
    with process.client(**{"x-api-key": key}) as client:
        answer = client.get("/models/toy/versions/2/samples/7.png", follow_redirects=True)
        assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"


def test_metrics_may_need_a_key_or_be_off(models_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    key, _ = make_key("prometheus", Entry(sha256="0" * 64), path)
    settings = {"metrics": "key", "load_models": "toy", "cors_origins": "*"}
    with ServiceProcess(models_dir, (), keys_file=path, **settings) as process, process.client(origin=APP) as client:
        assert client.get("/metrics").status_code == 401
        answer = client.get("/metrics", headers={"authorization": f"Bearer {key}"})
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, "*")
        assert "vary" not in answer.headers


class _Elsewhere(BaseHTTPRequestHandler):
    """An empty page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>elsewhere</title>")

    def log_message(self, *_: object) -> None: ...


ASK = """async ([url, key]) => {
  const answer = await fetch(url, {method: "POST", body: '{"seed": 7}',
    headers: {"content-type": "application/json", "authorization": `Bearer ${key}`}});
  return [answer.status, answer.headers.get("x-seeds"), answer.headers.get("ratelimit") !== null];
}"""


def test_a_browser_lets_a_listed_page_in_and_no_other(models_dir: Path, tmp_path: Path, browser: Any) -> None:  # noqa: ANN401
    path = tmp_path / "keys.toml"
    key, _ = make_key("page", Entry(sha256="0" * 64, samples_per_second=0.01, burst=5), path)
    elsewhere = ThreadingHTTPServer(("127.0.0.1", 0), _Elsewhere)
    Thread(target=elsewhere.serve_forever, daemon=True).start()
    listed, other = (f"http://{host}:{elsewhere.server_port}" for host in ("127.0.0.1", "localhost"))
    try:
        with ServiceProcess(models_dir, keys_file=path, cors_origins=listed, load_models="toy").loaded() as process:
            url = f"http://127.0.0.1:{process.port}/generate?format=npy"
            page: Page = browser.new_page()
            page.goto(listed)
            assert page.evaluate(ASK, [url, key]) == [200, "7", True]
            page.goto(other)
            assert page.evaluate(f"(given) => ({ASK})(given).catch(error => error.name)", [url, key]) == "TypeError"
            refused: list[str] = []
            page.on("console", lambda message: refused.append(message.text) if message.type == "error" else None)
            page.goto(f"http://127.0.0.1:{process.port}/docs")
            page.get_by_text("Draw samples").wait_for()  # the policy lets Swagger UI run
            assert refused == []
            page.close()
    finally:
        elsewhere.shutdown()
        elsewhere.server_close()
