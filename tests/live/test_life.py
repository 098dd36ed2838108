"""How the process starts, refuses to start, and ends."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from tests.support.serving import ROOT, TIMEOUT_S, ServiceProcess
from tests.support.toy import write_toy_package

# 78 MB as pixels: more than all buffers between server and client, so that the response waits for its reader.
LARGE_DRAWING = {"model": "large", "seed": 0, "n": 5000}
LARGE_BYTES = 128 + 5000 * 72 * 72 * 3


@pytest.fixture
def own_models_dir(tmp_path: Path) -> Path:
    """A folder with one toy, to be damaged."""
    write_toy_package(tmp_path, "toy")
    return tmp_path


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m service` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "service", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refusal(models_dir: Path, **settings: str) -> str:
    """Start a service that must not start; returns the reason in its one error line."""
    with ServiceProcess(models_dir, **settings) as process:
        reason = process.wait_for("cannot start")["reason"]
        assert process.wait() == 1
        assert len(process.lines(event="cannot start")) == 1
    assert isinstance(reason, str)
    return reason


def test_a_damaged_file_is_named_and_the_process_ends_with_1(own_models_dir: Path) -> None:
    graph = own_models_dir / "toy/1/generator.onnx"
    graph.write_bytes(graph.read_bytes()[:-1] + b"\0")
    reason = refusal(own_models_dir)
    assert "toy/1" in reason
    assert "generator.onnx" in reason
    assert "SHA-256" in reason


def test_a_missing_file_is_named_and_the_process_ends_with_1(own_models_dir: Path) -> None:
    (own_models_dir / "toy/1/golden.npz").unlink()
    assert "golden.npz" in refusal(own_models_dir)


def test_a_missing_model_is_named_and_the_process_ends_with_1(own_models_dir: Path) -> None:
    assert "mnist" in refusal(own_models_dir, default_model="mnist")
    assert "other" in refusal(own_models_dir, load_models="other")


def test_damage_beside_the_configured_model_is_shown_and_disturbs_nothing(own_models_dir: Path) -> None:
    broken = write_toy_package(own_models_dir, "broken")
    newer = write_toy_package(own_models_dir, "toy", 2)
    (broken / "manifest.json").write_text("{")
    (newer / "golden.npz").unlink()
    with ServiceProcess(own_models_dir).loaded() as process, process.client() as client:
        assert client.get("/readyz").status_code == 200
        assert client.post("/generate").json()["version"] == "1"
        refused = client.get("/models/broken/versions/1").json()
        assert refused["state"] == "refused"
        assert "manifest.json" in refused["reason"]
        assert client.post("/generate", json={"model": "broken"}).status_code == 404
        assert client.post("/generate", json={"version": 2}).status_code == 404


def test_the_service_lives_before_it_is_ready(own_models_dir: Path) -> None:
    for version in range(2, 6):
        write_toy_package(own_models_dir, "toy", version)
    nowhere = os.devnull  # nothing is remembered, so loading takes its time
    with ServiceProcess(own_models_dir, cache_dir=nowhere) as process, process.client() as client:
        assert client.get("/healthz").status_code == 200
        early = client.get("/readyz"), client.post("/generate")
        process.loaded()
        assert client.get("/readyz").status_code == 200
    for answer in early:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1
        assert "loading" in answer.json()["detail"]


def test_sigterm_ends_an_idle_service_with_0(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir).loaded() as process, process.client() as client:
        client.get("/healthz")  # leaves an idle connection open
        process.terminate()
        assert process.wait() == 0


def test_sigterm_while_loading_ends_the_service_with_0(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir) as process:
        process.wait_for("listening")
        process.terminate()
        assert process.wait() == 0


def test_sigterm_finishes_what_is_being_answered_and_turns_the_rest_away(models_dir: Path) -> None:
    with ServiceProcess(models_dir, load_models="large").loaded() as process, process.client() as client:
        with client.stream("POST", "/generate?format=npy", json=LARGE_DRAWING) as answer:
            pieces = answer.iter_raw()
            received = len(next(pieces))
            process.terminate()
            process.wait_for("draining")
            with process.client() as newcomer:
                assert newcomer.get("/healthz").status_code == 200
                assert newcomer.get("/readyz").status_code == 503
                refused = newcomer.post("/generate")
            received += sum(map(len, pieces))
        assert received == LARGE_BYTES
        assert refused.status_code == 503
        assert refused.headers["connection"] == "close"
        assert "retry-after" in refused.headers
        assert process.wait() == 0


def test_what_overruns_the_drain_is_cut_off_and_cannot_pass_for_complete(models_dir: Path) -> None:
    with ServiceProcess(models_dir, load_models="large", drain_timeout_s=0.2).loaded() as process:
        with process.client() as client, client.stream("POST", "/generate?format=npy", json=LARGE_DRAWING) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            process.terminate()
            process.wait_for("drain timed out")
            with pytest.raises(httpx.RemoteProtocolError):
                exhaust(pieces)
        assert process.wait() == 0


def test_a_second_signal_ends_everything_at_once_and_says_so(models_dir: Path) -> None:
    with ServiceProcess(models_dir, load_models="large").loaded() as process, process.client() as client:
        asking = socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S)
        with asking, client.stream("POST", "/generate?format=npy", json=LARGE_DRAWING) as answer:
            pieces = answer.iter_raw()
            next(pieces)
            asking.sendall(b"POST /generate HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n")
            assert b"100 Continue" in asking.recv(65536)  # it is asked for the body, so it is waited for
            process.terminate()
            process.wait_for("draining", in_flight=2)
            process.terminate()
            assert b"503 Service Unavailable" in asking.recv(65536)
            with pytest.raises(httpx.RemoteProtocolError):
                exhaust(pieces)
        assert process.wait() == 0
    requests = [line["status"] for line in process.lines(event="request", path="/generate")]
    assert requests == [503, 503]
    assert [line["event"] for line in process.log if line["level"] in ("warning", "error")] == ["answer cut off"]


def test_a_probe_whose_body_does_not_come_does_not_hold_the_end_up(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir).loaded() as process:
        with socket.create_connection(("127.0.0.1", process.port), TIMEOUT_S) as asking:
            asking.sendall(b"GET /healthz HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n")
            assert b"100 Continue" in asking.recv(65536)
            process.terminate()
            assert b"503 Service Unavailable" in asking.recv(65536)
        assert process.wait() == 0
    assert not [line for line in process.log if line["level"] in ("warning", "error")]


def exhaust(pieces: Iterator[bytes]) -> None:
    for _ in pieces:
        pass


@pytest.mark.parametrize(
    ("variable", "value"),
    [("GANYMEDE_PORT", "many"), ("GANYMEDE_DEVICE", "abacus"), ("GANYMEDE_MAX_SAMPLES", "0")],
)
def test_a_bad_setting_is_one_sentence_that_names_the_variable(variable: str, value: str) -> None:
    done = run(**{variable: value})
    assert done.returncode == 2
    assert done.stderr.startswith(f"{variable}='{value}': ")
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_help_lists_every_setting_with_its_default_and_what_it_does() -> None:
    done = run("--help")
    assert done.returncode == 0
    words = " ".join(done.stdout.split())
    for name, field in Settings.model_fields.items():
        default = "empty" if field.get_default() == "" else field.get_default()
        assert f"GANYMEDE_{name.upper()} (default: {default}) {field.description}" in words


def test_a_variable_that_is_no_setting_is_warned_of_with_the_nearest(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, prot=8000) as process:
        line = process.wait_for("unknown setting")
    assert (line["name"], line["nearest"]) == ("GANYMEDE_PROT", "GANYMEDE_PORT")


def test_a_port_in_use_ends_the_process(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir) as first, ServiceProcess(own_models_dir, port=first.port) as second:
        assert second.wait() != 0
        assert (
            "address already in use; end what listens there, or choose another port with GANYMEDE_PORT"
            in json.dumps(second.log)
        )


def test_logs_for_people_are_not_json(own_models_dir: Path) -> None:
    done = run(GANYMEDE_MODELS_DIR=str(own_models_dir), GANYMEDE_LOG_FORMAT="console", GANYMEDE_PORT="0")
    assert done.returncode == 1
    assert "cannot start" in done.stdout
    assert not done.stdout.startswith("{")
