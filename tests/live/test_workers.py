"""Several processes act as one service: one queue, one repository, one set of metrics, one shutdown."""

import itertools
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.serving import ServiceProcess, metric
from tests.support.toy import write_toy_package

WORKERS = 2
API = "service.multiprocess.api_process"
ENGINE = "service.multiprocess.engine_process"
CALLERS = 4  # at each worker: a batch of more than these holds samples of both
# As in test_life.py: more than all buffers between server and client.
LARGE_DRAWING = {"model": "large", "seed": 0, "n": 5000}
LARGE_BYTES = 128 + 5000 * 72 * 72 * 3


@pytest.fixture(scope="module")
def own_models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_toy_package(folder, "toy")
    write_toy_package(folder, "unnamed", conditional=True, unknown_label=True)
    write_toy_package(folder, "blind", discriminator=False)
    write_toy_package(folder, "large", channels=3, height=72, width=72, discriminator=False)
    return folder


@pytest.fixture(scope="module")
def many(own_models_dir: Path) -> Iterator[ServiceProcess]:
    """A service of two workers, both running when a test begins."""
    with ServiceProcess(own_models_dir, api_workers=WORKERS).loaded() as process:
        yield process


def pids(process: ServiceProcess, program: str) -> list[int]:
    """All processes of a program started so far, the latest last."""
    lines = process.lines(event="process started", program=program)
    return [line["pid"] for line in lines if isinstance(line["pid"], int)]


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def worker_of(process: ServiceProcess, port: int) -> int:
    """The worker at the other end of a connection from `port`, by /proc."""
    ends = f"{process.port:04X}", f"{port:04X}"
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (inode,) = (row[9] for row in rows if (row[1].split(":")[1], row[2].split(":")[1]) == ends)
    for pid in pids(process, API):
        with suppress(FileNotFoundError):
            for file in Path(f"/proc/{pid}/fd").iterdir():
                if str(file.readlink()) == f"socket:[{inode}]":
                    return pid
    raise AssertionError("nobody has accepted the connection")


class Caller:
    """A client with one persistent connection."""

    def __init__(self, process: ServiceProcess) -> None:
        self.client = process.client()
        with self.client.stream("GET", "/healthz") as answer:
            answer.read()  # or the connection would not be used again
            here: socket.socket = answer.extensions["network_stream"].get_extra_info("socket")
            self.worker = worker_of(process, here.getsockname()[1])


@contextmanager
def callers_of_each_worker(process: ServiceProcess, count: int) -> Iterator[dict[int, list[httpx.Client]]]:
    """Connect until each of two workers has `count` clients."""
    found: dict[int, list[httpx.Client]] = {}
    with ExitStack() as opened:
        while len(found) < WORKERS or min(map(len, found.values())) < count:
            caller = Caller(process)
            opened.callback(caller.client.close)
            found.setdefault(caller.worker, []).append(caller.client)
        yield {worker: clients[:count] for worker, clients in found.items()}


def test_two_workers_answer_the_bytes_that_one_process_answers(many: ServiceProcess, client: httpx.Client) -> None:
    asked = {"model": "toy", "version": 1, "seed": 11, "n": 40, "scores": True}
    given = {"model": "toy", "version": 1, "samples": [[0.25] * 64]}
    unnamed = {"model": "unnamed", "samples": [[0.25] * 64, [-0.5] * 64]}
    plain = {name: value for name, value in asked.items() if name != "scores"}
    with callers_of_each_worker(many, 1) as callers:
        for (other,) in callers.values():
            assert other.post("/generate", json=asked).json() == client.post("/generate", json=asked).json()
            assert other.post("/score", json=given).json() == client.post("/score", json=given).json()
            assert other.post("/score", json=unnamed).json() == client.post("/score", json=unnamed).json()
            for form in ("npy", "png", "zip"):
                path = f"/generate?format={form}"
                assert other.post(path, json=plain).content == client.post(path, json=plain).content
            refused = [each.post("/generate", json={"latents": [[1.0]]}).json() for each in (other, client)]
            assert [each["errors"] for each in refused] == [refused[0]["errors"]] * 2


def test_samples_that_two_workers_ask_for_run_in_one_batch(many: ServiceProcess) -> None:
    enough = threading.Event()

    def ask_on(client: httpx.Client) -> None:
        while not enough.is_set():
            assert client.post("/generate?format=npy", json={"model": "large"}).status_code == 200

    def shared(client: httpx.Client) -> float:
        """Batches of more samples than the clients of one worker request at a time."""
        of_large = {"model": "large", "graph": "generator"}
        small = metric(client, "ganymede_batch_samples_bucket", le=f"{CALLERS}.0", **of_large)
        return metric(client, "ganymede_batch_samples_count", **of_large) - small

    with callers_of_each_worker(many, CALLERS) as callers, many.client() as client, ThreadPoolExecutor() as threads:
        asking = [threads.submit(ask_on, each) for clients in callers.values() for each in clients]
        try:
            while shared(client) == 0:
                pass
        finally:
            enough.set()
        for each in asking:
            each.result()


def test_metrics_are_of_the_service_whichever_worker_is_asked(many: ServiceProcess) -> None:
    def count(client: httpx.Client) -> float:
        return metric(client, "ganymede_requests_total", route="/models/{name}", status="404")

    with callers_of_each_worker(many, 1) as callers:
        one, other = (clients[0] for clients in callers.values())
        before = count(one)
        for asking in (one, other):
            asking.get("/models/nobody")
        assert count(one) == count(other) == before + 2
        assert metric(one, "ganymede_build_info") == 1
        assert metric(one, "ganymede_package_ready") == metric(one, "ganymede_package_info") == 4
        assert metric(one, "ganymede_processes") == metric(one, "ganymede_processes_configured") == 1 + WORKERS
        assert (metric(one, "ganymede_processes_silent"), metric(one, "ganymede_ready")) == (0, 1)
        assert metric(one, "ganymede_memory_limit_bytes") > metric(one, "process_resident_memory_bytes")


def test_live_samples_of_all_workers_are_scored_by_the_engine(many: ServiceProcess) -> None:
    labels = {"model": "toy", "version": "1", "origin": "prior"}
    with callers_of_each_worker(many, 1) as callers:
        clients = [client for (client,) in callers.values()]
        for seed in itertools.count(step=16):
            for client in clients:
                client.post("/generate?format=npy", json={"n": 16, "seed": seed}).raise_for_status()
            if metric(clients[0], "ganymede_drift_samples_total", **labels) >= 32:
                break
        shown = [metric(client, "ganymede_drift_samples_total", **labels) for client in clients]
        assert shown == [shown[0]] * len(clients)


def test_a_model_that_one_worker_unloads_is_gone_from_all_when_it_says_so(many: ServiceProcess) -> None:
    with callers_of_each_worker(many, 1) as callers:
        for (one,), (other,) in (list(callers.values()), list(callers.values())[::-1]):
            assert one.post("/v2/repository/models/blind/unload").status_code == 200
            assert other.post("/generate", json={"model": "blind"}).status_code == 404
            assert other.post("/v2/repository/models/blind/load").status_code == 200
            assert one.post("/generate", json={"model": "blind"}).status_code == 200
            assert one.get("/models").json() == other.get("/models").json()


def test_a_package_that_comes_is_served_by_all_workers(many: ServiceProcess, own_models_dir: Path) -> None:
    write_toy_package(own_models_dir, "comes")
    many.wait_for("package ready", package="comes/1")
    with callers_of_each_worker(many, 1) as callers:
        for (each,) in callers.values():
            assert each.post("/generate", json={"model": "comes"}).status_code == 200


def test_a_killed_worker_is_replaced_and_harms_no_request_of_another(many: ServiceProcess) -> None:
    with callers_of_each_worker(many, 1) as callers:
        (killed, (lost,)), (_, (kept,)) = callers.items()
        lost.get("/models/nobody")
        before = metric(kept, "ganymede_requests_total")
        with kept.stream("POST", "/generate?format=npy", json=LARGE_DRAWING) as answer:
            pieces = answer.iter_raw()
            received = len(next(pieces))
            os.kill(killed, signal.SIGKILL)
            many.wait_for("a process ended and is replaced", pid=killed)
            assert lost.get("/models").status_code == 200  # a new connection is answered, however early
            received += sum(map(len, pieces))
        assert received == LARGE_BYTES
        assert metric(kept, "ganymede_requests_total") >= before
    many.wait_for("listening", pid=pids(many, API)[-1])
    with callers_of_each_worker(many, 1) as callers:
        assert sorted(callers) == sorted(pid for pid in pids(many, API) if pid != killed)
        for (each,) in callers.values():
            assert each.post("/generate").status_code == 200
            assert metric(each, "ganymede_processes_lost_total") == 1
            assert metric(each, "ganymede_processes") == 1 + WORKERS


def test_a_second_service_does_not_share_the_port(many: ServiceProcess, own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=WORKERS, port=many.port) as second:
        assert second.wait_for("cannot start")["reason"] == "Address already in use"
        assert second.wait() == 1


def test_a_killed_engine_is_told_to_callers_and_ends_the_service(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=WORKERS, load_models="large").loaded() as process:
        (engine,) = pids(process, ENGINE)
        with process.client() as client, process.client() as other:
            other.get("/healthz")
            with client.stream("POST", "/generate?format=npy", json=LARGE_DRAWING) as answer:
                pieces = answer.iter_raw()
                next(pieces)
                os.kill(engine, signal.SIGKILL)
                with pytest.raises(httpx.RemoteProtocolError):
                    for _ in pieces:
                        pass
            with suppress(httpx.TransportError):  # the service may have ended
                assert other.post("/generate", json={"model": "large"}).status_code == 503
        assert process.wait_for("a process ended, and the service with it", pid=engine)["exit_code"] == -signal.SIGKILL
        assert process.wait() == 1


def test_sigterm_finishes_what_any_worker_answers_and_turns_the_rest_away(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=WORKERS, load_models="large").loaded() as process:
        with callers_of_each_worker(process, 1) as callers, ExitStack() as opened:
            answers = [
                opened.enter_context(client.stream("POST", "/generate?format=npy", json=LARGE_DRAWING))
                for (client,) in callers.values()
            ]
            streams = [answer.iter_raw() for answer in answers]
            received = [len(next(pieces)) for pieces in streams]
            process.terminate()
            while len(process.lines(event="draining")) < WORKERS:
                pass
            newcomer = opened.enter_context(process.client())
            refused = newcomer.post("/generate")
            assert refused.status_code == 503
            assert refused.headers["connection"] == "close"
            received = [count + sum(map(len, pieces)) for count, pieces in zip(received, streams, strict=True)]
        assert received == [LARGE_BYTES] * WORKERS
        assert process.wait() == 0


def test_nobody_outlives_a_parent_that_was_killed(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=WORKERS, load_models="toy").loaded() as process:
        family = [*pids(process, ENGINE), *pids(process, API)]
    assert len(family) == WORKERS + 1
    while not all(map(has_ended, family)):
        pass


def test_a_model_that_cannot_be_loaded_ends_every_process_with_1(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=WORKERS, load_models="other") as process:
        reason = process.wait_for("cannot start")["reason"]
        assert isinstance(reason, str)
        assert "other" in reason
        assert process.wait() == 1


def test_sigterm_while_loading_ends_every_process_with_0(own_models_dir: Path) -> None:
    with ServiceProcess(own_models_dir, api_workers=WORKERS) as process:
        process.wait_for("process started", program=API, number=WORKERS)
        process.terminate()
        assert process.wait() == 0
