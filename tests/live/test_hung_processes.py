"""One of several processes hangs: it is detected and replaced, or the service ends, and no request waits long."""

import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.live.test_workers import API, ENGINE, callers_of_each_worker, has_ended, pids
from tests.support.serving import ServiceProcess, metric
from tests.support.toy import write_toy_package

FOUND_OUT_S = 20.0  # 5 s of silence and a start, on a busy machine


@pytest.fixture(scope="module")
def own_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_toy_package(folder, "toy")
    return folder


@pytest.mark.slow
def test_a_stopped_worker_is_replaced_and_who_waits_for_it_is_answered(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=2).loaded() as process:
        with callers_of_each_worker(process, 1) as callers:
            stopped, (_, (other,)) = min(callers), max(callers.items())
            os.kill(stopped, signal.SIGSTOP)
            assert metric(other, "ganymede_processes_silent") == 1
        began = time.monotonic()
        statuses: list[int] = []

        def connect() -> None:
            with process.client() as client:
                statuses.append(client.get("/models").status_code)

        connecting = [threading.Thread(target=connect) for _ in range(30)]
        for each in connecting:
            each.start()
        for each in connecting:
            each.join(FOUND_OUT_S)
        assert statuses == [200] * 30  # those whose connection the kernel had given to the stopped one among them
        assert time.monotonic() - began < FOUND_OUT_S
        assert process.lines(event="a process does not answer and is killed", pid=stopped)
        assert has_ended(stopped)


@pytest.mark.slow
def test_a_stopped_engine_is_told_in_time_and_does_not_keep_the_service_from_ending(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=2, drain_timeout_s=1).loaded() as process:
        (engine,) = pids(process, ENGINE)
        with process.client() as client:
            client.get("/healthz")
            os.kill(engine, signal.SIGSTOP)
            began = time.monotonic()
            late = client.post("/generate", headers={"x-timeout-ms": "1000"})
            assert late.status_code == 504
            assert time.monotonic() - began < 3
            began = time.monotonic()
            assert client.get("/metrics").status_code == 503
            assert time.monotonic() - began < 6
            assert client.get("/healthz").status_code == 200
        began = time.monotonic()
        process.terminate()
        assert process.wait() == 0
        assert time.monotonic() - began < 1 + 10
        assert has_ended(engine)


def test_workers_that_are_killed_as_they_come_are_replaced_ever_later(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=2).loaded() as process:
        until = time.monotonic() + 6
        while time.monotonic() < until:
            for pid in pids(process, API):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)  # a killer's pace, not a wait for anything
        assert len(pids(process, API)) <= 2 * (2 + 4)  # at once, and after 0.5, 1, 2 and 4 s
        process.terminate()
        assert process.wait() == 0


@pytest.mark.parametrize("workers", [0, 2])
def test_a_closed_terminal_ends_the_service_as_sigterm_does(own_models_dir: Path, workers: int) -> None:
    with ServiceProcess(own_models_dir, api_workers=workers).loaded() as process:
        with process.client() as client:
            assert client.post("/generate").status_code == 200
        process.hang_up()
        assert process.wait() == 0
        assert process.lines(event="draining")


@pytest.mark.parametrize("workers", [0, 2])
def test_the_address_of_every_interface_means_both_protocols_and_proxies_on_this_host_are_believed_on_both(
    own_models_dir: Path, workers: int
) -> None:
    with ServiceProcess(
        own_models_dir, api_workers=workers, host="::", without_keys="anyone-may-use-it"
    ).loaded() as process:
        for address in ("127.0.0.1", "[::1]"):
            assert httpx.get(f"http://{address}:{process.port}/healthz", trust_env=False).status_code == 200
        for own, address in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1"), ("::1", "[::1]")):
            with httpx.Client(transport=httpx.HTTPTransport(local_address=own), trust_env=False) as client:
                index = f"http://{address}:{process.port}/v2/repository/index"
                assert client.post(index).status_code == 200  # a program on this host
                for caller in ("203.0.113.9", "127.0.0.1, 203.0.113.9", "::1, 2001:db8::9"):
                    assert client.post(index, headers={"x-forwarded-for": caller}).status_code == 403
