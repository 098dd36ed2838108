"""Log writes that fail: the service keeps serving, rescanning and limiting, and logs again when it can."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ROOT, TIMEOUT_S, free_port, metric
from tests.support.toy import write_toy_package


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("needs the right to mount a small file system")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def start(models_dir: Path, out: int, **settings: object) -> "subprocess.Popen[bytes]":
    chosen = {"models_dir": models_dir, "default_model": "toy", "cache_dir": models_dir.parent / "cache"} | settings
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GANYMEDE_")}
    environment |= {f"GANYMEDE_{name.upper()}": str(value) for name, value in chosen.items()}
    return subprocess.Popen(
        [sys.executable, "-m", "service"], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.PIPE
    )


def wait_until_ready(client: httpx.Client) -> None:
    until = time.monotonic() + TIMEOUT_S
    while time.monotonic() < until:
        try:
            if client.get("/readyz").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("it never became ready")


def wait_for(client: httpx.Client, model: str, status: int) -> None:
    until = time.monotonic() + TIMEOUT_S
    while client.post("/generate", json={"model": model}).status_code != status:
        assert time.monotonic() < until


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path, small_disk: Path) -> None:
    models = tmp_path / "models"
    write_toy_package(models, "toy")
    port, log = free_port(), small_disk / "log"
    with (
        log.open("wb") as out,
        start(models, out.fileno(), port=port, rescan_interval_s=0.2, max_connections=3) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=TIMEOUT_S) as client,
    ):
        wait_until_ready(client)
        while metric(client, "ganymede_log_lines_dropped_total") == 0:
            client.get("/models")
        bad = models / "bad" / "1"
        bad.mkdir(parents=True)
        (bad / "manifest.json").write_text("{")  # which is a warning, or worse
        write_toy_package(models, "good")
        wait_for(client, "good", 200)
        with ExitStack() as opened:
            for _ in range(8):
                opened.enter_context(socket.create_connection(("127.0.0.1", port)))
            turned_away = socket.create_connection(("127.0.0.1", port))
            opened.enter_context(turned_away)
            turned_away.settimeout(TIMEOUT_S)
            assert turned_away.recv(12) == b"HTTP/1.1 503"
        os.truncate(log, 0)
        while not re.search(r'"path":"/models/afterwards"', log.read_text(errors="replace")):
            client.get("/models/afterwards")
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_reader_that_left_and_a_full_device_do_not_keep_the_service_from_serving(tmp_path: Path) -> None:
    models = tmp_path / "models"
    write_toy_package(models, "toy")
    read, written = os.pipe()
    os.close(read)
    full = os.open("/dev/full", os.O_WRONLY)
    for out in (written, full):
        port = free_port()
        with (
            start(models, out, port=port) as process,
            httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=TIMEOUT_S) as client,
        ):
            os.close(out)
            wait_until_ready(client)
            assert client.post("/generate").status_code == 200
            assert metric(client, "ganymede_log_lines_dropped_total") >= 3
            process.send_signal(signal.SIGTERM)
            assert process.wait(TIMEOUT_S) == 0
            assert process.stderr is not None
            assert process.stderr.read() == b""
