"""A service with keys: who is let in, what is told of it, and what an attacker gets."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from service.access.key_file import make_key
from service.access.keys import Entry, digest_of, new_key
from service.app import create_app
from service.settings import Settings
from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess, metric

ANY = Entry(sha256="0" * 64)
UNLOAD = "/v2/repository/models/blind/unload"
# Spellings of a path that a proxy, a router or a file system may take for the plain one.
TRICKS = (
    "/{path}", "{path}/", "{path}//", "/.{path}", "/x/..{path}", "{path}%00", "{path}%0a", "{path};x=1",
    "{path}?x=/healthz", "{path}%20", "/healthz/..{path}", "/docs/assets/..{path}", "/playground/x/../..{path}",
)  # fmt: skip
ENCODED = (
    "%2Fv2%2Frepository%2Fmodels%2Fblind%2Funload",
    "/v2%2frepository/models/blind/unload",
    "/%76%32/repository/models/blind/unload",
)


class Keyed:
    """A running service, its file of keys, and a key of each role."""

    def __init__(self, process: ServiceProcess, path: Path, user: str, admin: str) -> None:
        self.process = process
        self.path = path
        self.user = user
        self.admin = admin

    def client(self, key: str | None = None, **headers: str) -> httpx.Client:
        """A client with this key, or without one."""
        return self.process.client(**({} if key is None else {"authorization": f"Bearer {key}"}), **headers)


@pytest.fixture(scope="module")
def keyed(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keyed]:
    path = tmp_path_factory.mktemp("keys") / "keys.toml"
    user, _ = make_key("user", ANY, path)
    admin, _ = make_key("root", ANY.model_copy(update={"role": "admin"}), path)
    with ServiceProcess(models_dir, keys_file=path, repository_control="key", load_models="toy,blind") as process:
        yield Keyed(process.loaded(), path, user, admin)


def raw(process: ServiceProcess, method: str, target: str, *headers: str) -> bytes:
    """Send a request as it stands; the whole answer."""
    lines = [f"{method} {target} HTTP/1.1", "host: localhost", "connection: close", *headers, "", ""]
    with socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S) as connection:
        connection.sendall("\r\n".join(lines).encode("latin-1"))
        return b"".join(iter(lambda: connection.recv(65536), b""))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready", "/metrics", "/", "/docs", "/openapi.json",
             "/docs/assets/swagger-ui.css"]
)  # fmt: skip
def test_health_metrics_and_pages_need_no_key(keyed: Keyed, path: str) -> None:
    with keyed.client() as client:
        assert client.get(path).status_code == 200
        assert client.head(path).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/generate"), ("GET", "/generate"), ("POST", "/score"), ("GET", "/models"), ("HEAD", "/models"),
        ("OPTIONS", "/generate"), ("GET", "/models/toy/versions/2/samples/7.png"), ("GET", "/no-such-path"),
        ("POST", UNLOAD),
        ("GET", "/v2"), ("POST", "/v2/models/toy/infer"), ("POST", "/v2/health/live/"), ("GET", "/playground"),
    ],
)  # fmt: skip
def test_everything_else_is_401_in_the_form_of_its_path(keyed: Keyed, method: str, path: str) -> None:
    with keyed.client() as client:
        answer = client.request(method, path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        if method == "HEAD":
            return
        if path.startswith("/v2"):
            assert answer.json() == {"error": answer.json()["error"]}
            assert "needs a key" in answer.json()["error"]
        else:
            assert answer.headers["content-type"] == "application/problem+json"
            assert (answer.json()["status"], answer.json()["title"]) == (401, "Unauthorized")
            assert "Authorization: Bearer KEY" in answer.json()["detail"]


def test_a_key_in_either_header_lets_in_and_a_query_holds_none(keyed: Keyed) -> None:
    with keyed.client() as client:
        assert client.post("/generate", headers={"authorization": f"Bearer {keyed.user}"}).status_code == 200
        assert client.post("/generate", headers={"x-api-key": keyed.user}).status_code == 200
        for name in ("key", "api_key", "access_token"):
            assert client.post("/generate", params={name: keyed.user}).status_code == 401
            answer = client.post("/generate", params={name: keyed.user}, headers={"x-api-key": keyed.user})
            assert answer.status_code == 422
            assert keyed.user not in answer.text


def test_only_an_admin_key_loads_and_unloads(keyed: Keyed) -> None:
    load = UNLOAD.replace("unload", "load")
    with keyed.client(keyed.user) as user, keyed.client(keyed.admin) as admin:
        for path in ("/v2/repository/index", UNLOAD, load):
            refused = user.post(path)
            assert (refused.status_code, "role admin" in refused.json()["error"]) == (403, True)
        assert admin.post("/v2/repository/index").status_code == 200
        assert admin.post(UNLOAD, headers={"origin": "https://example.org"}).status_code == 200
        assert admin.post(load).status_code == 200
        assert admin.post("/generate").status_code == 200


def test_no_spelling_of_a_path_gives_more_than_its_plain_form(keyed: Keyed) -> None:
    targets = [trick.format(path=UNLOAD) for trick in TRICKS] + list(ENCODED)
    key = f"authorization: Bearer {keyed.user}"
    for target in targets:
        for method in ("POST", "GET", "HEAD", "PUT"):
            open_to_all = status(raw(keyed.process, method, target, "content-length: 0"))
            assert open_to_all in ({401, 404, 405} if target.startswith(("/docs/", "/playground/")) else {400, 401}), (
                target
            )
            assert status(raw(keyed.process, method, target, "content-length: 0", key)) in {400, 403, 404, 405}, target
    for header in ("x-http-method-override: POST", "x-method-override: POST", "x-original-url: /v2/repository/index",
                   "x-rewrite-url: /healthz", "x-forwarded-for: 127.0.0.1", "x-forwarded-user: root"):  # fmt: skip
        assert status(raw(keyed.process, "POST", UNLOAD, "content-length: 0", key, header)) == 403
        assert status(raw(keyed.process, "POST", "/generate", "content-length: 0", header)) == 401
    assert status(raw(keyed.process, "POST", "http://localhost/generate", "content-length: 0")) == 401
    with keyed.client() as client:
        assert "blind/1" in client.get("/readyz").json()["packages"]["ready"]


@pytest.mark.parametrize(
    "headers",
    [
        ("authorization: Bearer {user}", "authorization: Bearer {user}"),
        ("authorization: Bearer {user}", "authorization: Bearer {admin}"),
        ("x-api-key: {user}", "x-api-key: {admin}"),
        ("authorization: Bearer {user}", "x-api-key: {admin}"),
        ("authorization: Bearer " + "x" * 30_000,),
        ("authorization: Bearer ü€{user}".replace("€", ""),),
        ("authorization: Bearer \xff\xfe{user}",),
        ("authorization: Digest {user}",),
        ("authorization: Bearer {user}\x0b",),
    ],
    ids=range(9),
)
def test_headers_that_are_no_key_are_401(keyed: Keyed, headers: tuple[str, ...]) -> None:
    filled = [header.replace("{user}", keyed.user).replace("{admin}", keyed.admin) for header in headers]
    answer = raw(keyed.process, "POST", "/generate", "content-length: 0", *filled)
    assert status(answer) in {400, 401}
    assert keyed.user.encode() not in answer
    with keyed.client(keyed.user) as client:
        assert client.post("/generate").status_code == 200


def test_a_request_that_is_refused_sends_no_body(keyed: Keyed) -> None:
    with socket.create_connection(("127.0.0.1", keyed.process.port), TIMEOUT_S) as connection:
        connection.sendall(
            b"POST /generate HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9000000\r\n\r\n"
        )
        assert connection.recv(65536).startswith(b"HTTP/1.1 401 ")


def test_the_log_and_the_metrics_name_the_key_and_hold_nothing_secret(keyed: Keyed) -> None:
    wrong = new_key()
    with keyed.client(keyed.user, **{"x-request-id": "named"}) as client:
        before = metric(client, "ganymede_key_requests_total", key="user")
        assert client.post("/generate", json={"n": "x"}).status_code == 422
        line = keyed.process.wait_for("request", request_id="named")
        assert (line["key"], line["status"]) == ("user", 422)
        count = len(keyed.process.log)
        for number in range(20):
            refused = client.post(
                "/generate", headers={"authorization": f"Bearer {wrong}", "x-request-id": f"w{number}"}
            )
            assert wrong not in refused.text + str(refused.headers)
        keyed.process.wait_for("request", request_id="w19")
        lines = [line for line in keyed.process.log[count:] if line["event"] == "request"]
        assert [(line["status"], "key" in line) for line in lines] == [(401, False)] * 20  # one line each, and no more
        assert metric(client, "ganymede_key_requests_total", key="user") == before + 1
        shown = client.get("/metrics").text
    for secret in (keyed.user, keyed.admin, wrong, wrong[9:30]):
        assert secret not in shown
        assert secret not in str(keyed.process.log)


def test_the_document_asks_for_a_key_where_the_service_does(keyed: Keyed) -> None:
    with keyed.client() as keyed_client:
        document = keyed_client.get("/openapi.json").json()
    assert document["security"] == [{"bearer": []}, {"header": []}]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "header"}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            is_open = path in {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready"}
            assert operation.get("security") == ([] if is_open else None)
    assert "401" in document["paths"]["/generate"]["post"]["responses"]
    open_document = create_app(Settings()).openapi()
    assert "security" not in open_document
    assert "401" not in open_document["paths"]["/generate"]["post"]["responses"]


def replace(path: Path, change: Callable[[str], str]) -> None:
    """Replace a file at once, as editors do."""
    new = path.with_suffix(".new")
    new.write_text(change(path.read_text()))
    new.replace(path)


def test_keys_come_and_go_while_requests_run_in_several_processes(models_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    kept, _ = make_key("kept", ANY, path)
    revoked, lines = make_key("revoked", ANY, path)
    with ServiceProcess(models_dir, keys_file=path, api_workers=2, load_models="toy") as process:
        process.loaded()
        ended = threading.Event()
        found: list[int] = []

        def ask() -> None:
            with process.client(**{"x-api-key": kept}) as client:
                while not ended.is_set():
                    found.append(client.post("/generate", json={"n": 3, "seed": 7}).status_code)

        asking = threading.Thread(target=ask)
        asking.start()
        try:
            with process.client(**{"x-api-key": revoked}) as client:
                stream = client.build_request("POST", "/generate?format=npy", json={"n": 20_000, "seed": 7})
                answer = client.send(stream, stream=True)
                assert answer.status_code == 200
                replace(path, lambda text: text.replace(lines, ""))
                while True:
                    statuses = []
                    for _ in range(8):  # a connection each: any of the processes
                        with process.client(**{"x-api-key": revoked}) as other:
                            statuses.append(other.get("/models").status_code)
                    if set(statuses) == {401}:
                        break
                    assert set(statuses) <= {200, 401}
                assert len(answer.read()) > 20_000  # what had begun is answered
            path.write_text("[keys.")
            process.wait_for("keys cannot be read", in_use=1)
            added, _ = _written_anew(path, kept)
            process.wait_for("keys read", keys=2)
            with process.client(**{"x-api-key": added}) as client:
                while client.get("/models").status_code == 401:
                    pass
        finally:
            ended.set()
            asking.join()
        assert set(found) == {200}
        assert len(process.lines(event="keys cannot be read")) <= 2


def _written_anew(path: Path, kept: str) -> tuple[str, str]:
    """A valid file again, with the kept key and a new one."""
    other = path.with_suffix(".other")
    other.write_text(f'[keys.kept]\nsha256 = "{digest_of(kept)}"\n')
    made = make_key("added", ANY, other)
    other.replace(path)
    return made


def test_spans_name_the_key_and_hold_no_secret(models_dir: Path, tmp_path: Path) -> None:
    pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")
    from tests.support.otlp import receiving  # noqa: PLC0415  (needs the extra)

    path = tmp_path / "keys.toml"
    key, _ = make_key("traced", ANY, path)
    with receiving() as receiver, pytest.MonkeyPatch.context() as patch:
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
        patch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
        with ServiceProcess(models_dir, keys_file=path, load_models="toy").loaded() as process:
            with process.client(authorization=f"Bearer {key}") as client:
                assert client.post("/generate").status_code == 200
                assert client.post(f"/generate?key={key}", headers={"authorization": ""}).status_code == 401
            process.terminate()
            assert process.wait() == 0
        named = [span.attributes.get("ganymede.key") for span in receiver.spans if span.name.startswith("POST")]
        assert sorted(map(str, named)) == ["None", "traced"]
        assert key not in str(receiver.spans)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"GANYMEDE_HOST": "0.0.0.0"}, "GANYMEDE_HOST='0.0.0.0': others reach"),  # noqa: S104  (it does not listen)
        ({"GANYMEDE_HOST": "::", "GANYMEDE_API_WORKERS": "2"}, "GANYMEDE_HOST='::': others reach"),
        ({"GANYMEDE_KEYS_FILE": "/no/such/keys.toml"}, "GANYMEDE_KEYS_FILE='/no/such/keys.toml': No such file"),
        ({"GANYMEDE_KEYS_FILE": "pyproject.toml", "GANYMEDE_API_WORKERS": "2"}, "lists each key as a table"),
        ({"GANYMEDE_REPOSITORY_CONTROL": "key"}, "GANYMEDE_REPOSITORY_CONTROL='key': Value error, needs GANYMEDE_KEYS"),
    ],
)
def test_a_start_without_the_keys_that_it_needs_is_refused_in_one_sentence(settings: dict[str, str], said: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GANYMEDE_")}
    done = subprocess.run(
        [sys.executable, "-m", "service"], cwd=ROOT, env=environment | settings, capture_output=True, text=True,
        timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 1)
    assert said in done.stderr
