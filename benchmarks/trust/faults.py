"""The faults: each is injected into a real service beside callers of another package, who must notice nothing.

A fault is a function of a `Scene`; it injects, and says what the request concerned was answered. A fault that ends the
service says so in `FAULTS`; it is then started again, as its supervisor would.
"""

import json
import os
import re
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.client import HTTPException
from pathlib import Path
from typing import Final

from benchmarks.contenders.contenders import free_port
from benchmarks.contenders.server import Server
from benchmarks.load.usage import family
from benchmarks.trust.controls import FAULTY_HEIGHT
from benchmarks.trust.mixture import Call, Caller, Known, Tally
from benchmarks.trust.wire import launch
from benchmarks.workplace import ROOT
from tests.support.cuda import customize
from tests.support.serving import ServiceProcess
from tests.support.toy import write_toy_package

BYSTANDERS: Final = 3
HEALTHY_TIMEOUT_S: Final = 60.0
POLL_S: Final = 0.02
JUMP_S: Final = 10 * 365 * 86_400
FEW_FILES: Final = 64
MANY_CONNECTIONS: Final = 200
JSON: Final = {"content-type": "application/json"}
VICTIM: Final = Call(
    "victim", "POST", "/generate?format=npy&dtype=float32", b'{"model": "victim", "n": 4, "seed": 7}', JSON
)
OTHER: Final = Call("other", "POST", "/generate?format=npy", b'{"model": "other", "n": 3, "seed": 7}', JSON)
# More than all buffers between the service and a client that does not read.
STREAM: Final = b'{"model": "victim", "n": 40000, "seed": 7}'
STREAM_HEAD: Final = (
    b"POST /generate?format=npy HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(STREAM)
)
SITE: Final = """from pathlib import Path
from benchmarks.trust.controls import break_sessions
break_sessions(Path({switch!r}))
"""


class NotHeld(Exception):
    """Something did not survive a fault that must survive it."""


@dataclass
class Scene:
    """A service, before and while something goes wrong.

    Attributes:
        folder: of this fault alone; `models` in it are the packages.
        port: of the service.
        started: the service; None where its log cannot be read.
        known: what the victim and the other package answer.
    """

    folder: Path
    port: int
    started: ServiceProcess | None
    known: dict[str, Known] = field(default_factory=dict)

    @property
    def process(self) -> ServiceProcess:
        """The service, whose log can be read."""
        if self.started is None:
            raise NotHeld("this service has no log")
        return self.started

    def ask(self, call: Call, **headers: str) -> Known:
        """Ask on a new connection."""
        asked = Call(call.name, call.method, call.path, call.body, {**call.headers, **headers})
        with closing(Caller(self.port)) as caller:
            return caller.ask(asked)

    def switch(self, fault: str) -> None:
        """Let the victim's next run fail."""
        temporary = self.folder / ".switch"
        temporary.write_text(fault, encoding="utf-8")
        temporary.rename(self.folder / "switch")

    def statuses(self, name: str) -> Mapping[str, str]:
        """State of each version of a package, as the service shows it."""
        body = self.ask(Call("models", "GET", f"/models/{name}")).body
        return {each["version"]: each["state"] for each in json.loads(body).get("versions", ())}


@contextmanager
def scene(folder: Path, fault: "Fault") -> Iterator[Scene]:
    """Start a service with a victim and another package, wherever the fault needs it."""
    models = folder / "models"
    if not models.exists():
        write_toy_package(models, "victim", height=FAULTY_HEIGHT, width=40)
        write_toy_package(models, "other", seed=2)
    (folder / "sitecustomize.py").write_text(SITE.format(switch=str(folder / "switch")), encoding="utf-8")
    paths = os.pathsep.join((str(folder), str(ROOT)))
    settings = {"default_model": "other", "load_models": "other,victim", "rescan_interval_s": 0.2, **fault.settings}
    if fault.on_device:
        paths = customize(folder, folder / "lost")
        settings["device"] = "cuda"
    with ExitStack() as stack:
        if fault.log is not None:
            port = free_port()
            start = launch(port, "chaos.log", models_dir=models, log_level="info", **settings)
            server = stack.enter_context(Server(replace(start, log=fault.log)))
            server.ready(port)
            found = Scene(folder, port, None)
        else:
            process = stack.enter_context(_start(models, fault.launcher, paths, settings)).loaded()
            found = Scene(folder, process.port, process)
        until_s = time.monotonic() + HEALTHY_TIMEOUT_S
        while {each.status for each in found.known.values()} != {200}:
            if time.monotonic() > until_s:
                raise NotHeld(f"before the fault: {[each.status for each in found.known.values()]}")
            found.known = {call.name: found.ask(call) for call in (VICTIM, OTHER)}
        yield found


def _start(models: Path, launcher: tuple[str, ...], paths: str, settings: Mapping[str, str | float]) -> ServiceProcess:
    """Start a service whose modules are looked for in these folders as well."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = paths
    try:
        return ServiceProcess(models, launcher, **settings)
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


@contextmanager
def bystanders(at: Scene) -> Iterator[Tally]:
    """Callers of the other package, who go on within the block."""
    tally, until = Tally(), threading.Event()

    def repeat() -> None:
        with closing(Caller(at.port)) as caller:
            while not until.is_set():
                try:
                    tally.count(OTHER, at.known["other"], caller.ask(OTHER))
                except (OSError, HTTPException) as error:
                    tally.lost(OTHER, error)
                    caller.close()
                    until.wait(POLL_S)

    threads = [threading.Thread(target=repeat) for _ in range(BYSTANDERS)]
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        until.set()
        for thread in threads:
            thread.join()


def healthy(at: Scene) -> None:
    """Wait until the service is ready and both packages answer their bytes.

    Raises:
        NotHeld: it does not become healthy.
    """
    until_s = time.monotonic() + HEALTHY_TIMEOUT_S
    while True:
        with suppress(OSError, HTTPException):
            found = [at.ask(VICTIM), at.ask(OTHER)]
            ready = at.ask(Call("ready", "GET", "/readyz")).status
            if found == [at.known["victim"], at.known["other"]] and ready == 200:  # noqa: PLR2004
                return
        if time.monotonic() > until_s:
            raise NotHeld(f"it is not healthy after {HEALTHY_TIMEOUT_S:g} s")
        time.sleep(POLL_S)


def expect(what: str, found: object, *wanted: object) -> None:
    """Raise `NotHeld` where something is not as it must be."""
    if found not in wanted:
        raise NotHeld(f"{what}: {found!r}, not {' or '.join(map(repr, wanted))}")


def failing_run(fault: str, *statuses: int) -> Callable[[Scene], str]:
    """A fault of one run of the victim's session."""

    def inject(at: Scene) -> str:
        at.switch(fault)
        status = at.ask(VICTIM).status
        expect("the request of that run", status, *statuses)
        return f"the request of that run: {status}"

    return inject


def hangs(at: Scene) -> str:
    """A run that takes longer than its caller waits."""
    at.switch("hangs")
    began_s = time.monotonic()
    status = at.ask(VICTIM, **{"x-timeout-ms": "500"}).status
    expect("the request of that run", status, 504)
    if (took_s := time.monotonic() - began_s) > 2.0:  # noqa: PLR2004 - four deadlines, on a busy machine
        raise NotHeld(f"its deadline of 0.5 s was told after {took_s:.1f} s")
    return "the request of that run: 504 at its deadline"


def loses_device(at: Scene) -> str:
    """A device that answers nothing any more."""
    (at.folder / "lost").touch()
    with suppress(OSError, HTTPException):
        expect("the request of that run", at.ask(VICTIM).status, 500, 503)
    expect("exit code", at.process.wait(), 1)
    (at.folder / "lost").unlink()
    return "what was being answered; the process ends with 1"


def full_disk(at: Scene) -> str:
    """The log cannot be written: the service's standard output is a full device."""
    for _ in range(20):
        expect("a request", at.ask(VICTIM).status, 200)
    metrics = at.ask(Call("metrics", "GET", "/metrics")).body
    dropped = re.search(rb"^ganymede_log_lines_dropped_total (\S+)$", metrics, re.MULTILINE)
    if dropped is None or float(dropped[1]) == 0:
        raise NotHeld("no line was dropped")
    return "lines of the log, which are counted"


def tampered(at: Scene) -> str:
    """Packages that are half copied, damaged or of false words, put beside those that are served."""
    source = at.folder / "models" / "victim" / "1"
    damages = ("generator.onnx", b""), ("generator.onnx", b"\0"), ("manifest.json", b"{"), ("golden.npz", b"PK")
    for number, (name, damage) in enumerate(damages):
        copied = at.folder / f"bad{number}" / "1"
        shutil.copytree(source, copied)
        manifest = json.loads((copied / "manifest.json").read_text(encoding="utf-8")) | {"name": f"bad{number}"}
        (copied / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        content = (copied / name).read_bytes()
        (copied / name).write_bytes(content[: len(content) // 2] + damage)
        copied.parent.rename(at.folder / "models" / copied.parent.name)
    for number in range(4):
        at.process.wait_for("package refused", package=f"bad{number}/1")
        expect("its state", at.statuses(f"bad{number}"), {"1": "refused"})
    return "nothing; each is refused by name"


def removed_in_use(at: Scene) -> str:
    """The folder of a package is removed while a stream of it is read."""
    with socket.create_connection(("127.0.0.1", at.process.port), HEALTHY_TIMEOUT_S) as stream:
        stream.sendall(STREAM_HEAD + STREAM)
        received = len(stream.recv(1 << 16))
        (at.folder / "models" / "victim" / "1").rename(at.folder / "models" / "victim" / ".1.old")
        while at.ask(VICTIM).status != 404:  # noqa: PLR2004
            time.sleep(POLL_S)
        while piece := stream.recv(1 << 16):
            received += len(piece)
    (at.folder / "models" / "victim" / ".1.old").rename(at.folder / "models" / "victim" / "1")
    if received < 40_000 * FAULTY_HEIGHT * 40:
        raise NotHeld(f"the stream ended after {received} bytes")
    return "nothing; the stream ends whole, new requests are 404"


def clock_jumps(at: Scene) -> str:
    """The clock is set ten years ahead, and ten years back."""
    for seconds in (JUMP_S, -JUMP_S):
        (at.folder / "clock").write_text(str(seconds), encoding="utf-8")
        for _ in range(10):
            expect("a request", at.ask(VICTIM, **{"x-timeout-ms": "5000"}).status, 200)
    return "nothing"


def kills_engine(at: Scene) -> str:
    """SIGKILL to the engine process behind two API processes."""
    os.kill(int(str(at.process.lines(event="process started", program=ENGINE)[0]["pid"])), signal.SIGKILL)
    expect("exit code", at.process.wait(), 1)
    return "what was being answered; the service ends with 1"


def kills_http_process(at: Scene) -> str:
    """SIGKILL to one of two API processes."""
    pid = int(str(at.process.lines(event="process started", program=API)[0]["pid"]))
    os.kill(pid, signal.SIGKILL)
    at.process.wait_for("a process ended and is replaced", pid=pid)
    return "requests on connections of that process"


def exhausts_files(at: Scene) -> str:
    """More connections than the process may have files."""
    with ExitStack() as opened:
        for _ in range(MANY_CONNECTIONS):
            with suppress(OSError):
                connection = socket.create_connection(("127.0.0.1", at.process.port), 1.0)
                opened.enter_context(connection)
        time.sleep(0.5)  # a state to be held, not an event to wait for
        if not family(at.process.pid):
            raise NotHeld("the process ended")
    return f"connections beyond {FEW_FILES} files"


def terminated_twice(at: Scene) -> str:
    """A second SIGTERM while the first one drains a stream."""
    with socket.create_connection(("127.0.0.1", at.process.port), HEALTHY_TIMEOUT_S) as stream:
        stream.sendall(STREAM_HEAD + STREAM)
        received = len(stream.recv(1 << 16))
        at.process.terminate()
        at.process.wait_for("draining")
        began_s = time.monotonic()
        at.process.terminate()
        with suppress(ConnectionError):
            while piece := stream.recv(1 << 16):
                received += len(piece)
    expect("exit code", at.process.wait(), 0)
    if (took_s := time.monotonic() - began_s) > 15.0:  # noqa: PLR2004 - closing takes 5 s at most, on a busy machine
        raise NotHeld(f"it ended {took_s:.1f} s after the second signal")
    return "what was being answered, cut off; it ends with 0"


ENGINE: Final = "service.multiprocess.engine_process"
API: Final = "service.multiprocess.api_process"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        words: for the table.
        settings: of the service.
        launcher: before the service's command.
        log: file for its output, in place of one that is read.
        ends: whether the service ends by it, so that callers of others lose what they asked, and it is started again.
        spares: whether callers of the other package lose nothing.
        on_device: whether the service computes on a (fake) CUDA device.
    """

    words: str
    inject: Callable[[Scene], str]
    settings: Mapping[str, str | float] = field(default_factory=dict)
    launcher: tuple[str, ...] = ()
    log: Path | None = None
    ends: bool = False
    spares: bool = True
    on_device: bool = False


FAULTS: Final[Mapping[str, Fault]] = {
    "raises": Fault(words="a session raises", inject=failing_run("raises", 500)),
    "hangs": Fault(words="a session hangs for 3 s", inject=hangs),
    "nan": Fault(words="a session returns NaN", inject=failing_run("nan", 500)),
    "short": Fault(words="a session returns a short batch", inject=failing_run("short", 500)),
    "memory": Fault(words="a session runs out of memory", inject=failing_run("memory", 500, 503)),
    "device": Fault(words="the device is lost", inject=loses_device, ends=True, on_device=True),
    "disk": Fault(words="the disk of the log is full", inject=full_disk, log=Path("/dev/full")),
    "tampered": Fault(words="half-copied and tampered packages", inject=tampered, settings={"load_models": ""}),
    "removed": Fault(words="a package is removed in use", inject=removed_in_use, settings={"load_models": ""}),
    "clock": Fault(words="the clock jumps by ten years", inject=clock_jumps),
    "engine": Fault(words="the engine process is killed", inject=kills_engine, settings={"api_workers": 2}, ends=True),
    "http": Fault(
        words="an HTTP process is killed", inject=kills_http_process, settings={"api_workers": 2}, spares=False
    ),
    "files": Fault(
        words="file descriptors are exhausted", inject=exhausts_files, spares=False,
        launcher=("sh", "-c", f'ulimit -n {FEW_FILES} && exec "$@"', "-"),
    ),
    "sigterm": Fault(words="SIGTERM twice, during a stream", inject=terminated_twice, ends=True),
}  # fmt: skip
