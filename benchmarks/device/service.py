"""The stages `promise`, `serve` and `life`: the service itself on the device, as a process that is asked over HTTP.

    promise    the same seeds one by one, in groups, beside others, after a restart: the same bytes?
    serve      closed loops of several sizes and numbers of connections; one process and several; by wrk
    life       from start to first sample · packages that come and go under load · a killed engine · no memory left

Shapes: N samples.
"""

import hashlib
import http.client
import io
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks import gpu
from benchmarks.contenders.contenders import Ours, Setting, free_port
from benchmarks.contenders.server import Caller, Server
from benchmarks.device.graphs import PROVIDERS
from benchmarks.device.stage import Notes, fresh_process, median, timed
from benchmarks.load import cells, closed_loop, usage
from benchmarks.load.closed_loop import LoadFailed, Work
from benchmarks.results import Row

POLL_S: Final = 0.01
READY_S: Final = 60.0
MEBIBYTE: Final = 2**20
# Seeds of others, which nobody asks for otherwise.
FOREIGN_SEEDS: Final = (10**9, 2 * 10**9)
MOST_FOREIGN_N: Final = 24
SECOND_PACKAGE: Final = "planted-items"
LEFT_BYTES: Final = 200 * MEBIBYTE
AGAIN_S: Final = 30.0

Samples = NDArray[Any]


@contextmanager
def serving(notes: Notes, networks: Sequence[str], **settings: object) -> Iterator[tuple[int, int, float]]:
    """The service on the stage's device.

    Args:
        notes: of the stage.
        networks: packages of one folder; the first is the default one.
        settings: more of the service's settings.

    Yields:
        Its port, the number of its first process, and seconds from its start to its first sample.
    """
    environment = {
        "GANYMEDE_DEVICE": notes.terms.device,
        "GANYMEDE_LOAD_MODELS": ",".join(networks),
        **{f"GANYMEDE_{name.upper()}": str(value) for name, value in settings.items()},
    }
    setting, port, contender = Setting(network=networks[0], environment=environment), free_port(), Ours()
    with Server(contender.launch(setting, port)) as server:
        _, seconds = server.first_answer(contender.work(setting, port, 1))
        yield port, server.pid, seconds


def measure_promise(notes: Notes) -> None:
    """Ask for the same seeds in several ways."""
    differing = 0
    for network in notes.terms.pick(("mnist", "g64"), ("mnist",)):
        found = notes.attempt(network, _promise, notes, network)
        differing = differing + found if found is not None else 10**6
    notes.figure("differing", differing)
    notes.attempt("fast", _fast, notes)


def _promise(notes: Notes, network: str) -> int:
    """Samples that had other bytes than the first time."""
    seeds = range(notes.terms.pick(2000, 24))
    whole = notes.terms.pick(500, 24)
    digests: dict[str, list[str]] = {}
    with serving(notes, [network]) as (port, _, _):
        caller = Caller(port)
        _tell_device(notes, caller, network)
        first = asked(caller, network, seeds, whole)
        digests["in 500s"] = digests_of(first)
        digests["one by one"] = digests_of(asked(caller, network, seeds, 1))
        digests["in 16s"] = digests_of(asked(caller, network, seeds, 16))
        if network == "mnist":
            digests |= {f"scores in {n}s": scores(caller, network, first, n) for n in (whole, 16, 1)}
        with crowd(notes, port, network) as foreign:
            digests["beside others"] = digests_of(asked(caller, network, seeds, 16))
        notes.row("crowd", network=network, **foreign)
    with serving(notes, [network]) as (port, _, _):
        digests["after a restart"] = digests_of(asked(Caller(port), network, seeds, 16))
        if network == "mnist":
            digests["scores after a restart"] = scores(Caller(port), network, first, 16)
    total = 0
    for way, found in digests.items():
        like = next(name for name in digests if name.startswith("scores") == way.startswith("scores"))
        wrong = sum(one != other for one, other in zip(found, digests[like], strict=True))
        whole_digest = hashlib.sha256("".join(found).encode()).hexdigest()
        notes.row("promise", network=network, way=way, samples=len(found), differing=wrong, digest=whole_digest)
        total += wrong
    notes.say(f"{network}: {total} of {sum(map(len, digests.values()))} answers differ ({', '.join(digests)})"[:180])
    return total


def _fast(notes: Notes) -> None:
    """What `fast` gives up: the same, and nothing is promised."""
    seeds = range(notes.terms.pick(500, 8))
    with serving(notes, ["mnist"], reproducibility="fast") as (port, _, _):
        caller = Caller(port)
        found = [digests_of(asked(caller, "mnist", seeds, n)) for n in (len(seeds), 1)]
    differing = sum(one != other for one, other in zip(*found, strict=True))
    notes.row("fast", samples=len(seeds), differing=differing)
    notes.say(f"fast, where nothing is promised: {differing} of {len(seeds)} differ")


def _tell_device(notes: Notes, caller: Caller, network: str) -> None:
    status = json.loads(caller.get(f"/models/{network}/versions/{Setting(network=network).folder.name}"))
    notes.row("device", network=network, status=status)
    providers = sorted(set(_found(status, "provider")))
    notes.say(f"{network} runs on {', '.join(providers)}")
    wanted = PROVIDERS[notes.terms.device]
    if providers != [wanted]:
        raise RuntimeError(f"{network} was to run on {wanted}, and runs on {', '.join(providers)}")


def _found(value: object, key: str) -> Iterator[str]:
    """Every value of a key, however deep."""
    if isinstance(value, dict):
        for name, part in value.items():
            yield from [str(part)] if name == key else _found(part, key)
    elif isinstance(value, list):
        for part in value:
            yield from _found(part, key)


def generate(caller: Caller, model: str, seeds: Sequence[int]) -> Samples:
    """The pixels of some seeds, [N, H, W, C]."""
    body = json.dumps({"model": model, "seeds": list(seeds)}).encode()
    samples: Samples = np.load(io.BytesIO(caller.post("/generate?format=npy", body)), allow_pickle=False)
    return samples


def asked(caller: Caller, network: str, seeds: Sequence[int], n: int) -> Samples:
    """The pixels of seeds, n a request."""
    return np.concatenate([generate(caller, network, seeds[start : start + n]) for start in range(0, len(seeds), n)])


def digests_of(samples: Samples) -> list[str]:
    """A hash a sample."""
    return [hashlib.sha256(sample.tobytes()).hexdigest() for sample in samples]


def scores(caller: Caller, network: str, samples: Samples, n: int) -> list[str]:
    """The logit of each sample under one label, n samples a request."""
    found: list[str] = []
    for start in range(0, len(samples), n):
        file = io.BytesIO()
        np.save(file, samples[start : start + n])
        labels = "".join("&label=3" for _ in samples[start : start + n])
        answer = json.loads(caller.post(f"/score?model={network}{labels}", file.getvalue(), "application/x-npy"))
        found += [repr(score["logit"]) for score in answer["scores"]]
    return found


@contextmanager
def crowd(notes: Notes, port: int, network: str) -> Iterator[dict[str, int]]:
    """Others who ask meanwhile; yields what came of it, which is whole when the block is left."""
    over = threading.Event()
    counts = {"answered": 0, "failed": 0}
    lock = threading.Lock()

    def ask_on(number: int) -> None:
        chance, caller = random.Random(number), Caller(port)  # noqa: S311 - not a secret
        while not over.is_set():
            seeds = [chance.randint(*FOREIGN_SEEDS) for _ in range(chance.randint(1, MOST_FOREIGN_N))]
            try:
                generate(caller, network, seeds)
            except (LoadFailed, OSError, http.client.HTTPException) as error:
                sys.stderr.write(f"{error}\n")
                what, caller = "failed", Caller(port)
            else:
                what = "answered"
            with lock:
                counts[what] += 1

    threads = [threading.Thread(target=ask_on, args=[number]) for number in range(notes.terms.pick(64, 4))]
    for thread in threads:
        thread.start()
    try:
        yield counts
    finally:
        over.set()
        for thread in threads:
            thread.join()


# Name of a start → its settings, the networks, and what is asked: n, connections, form.
Cells = tuple[tuple[int, int, str], ...]
LOADS: Final[Cells] = tuple((n, connections, "npy") for n in (1, 16, 64) for connections in (1, 8, 64))
FULL: Final[Cells] = ((1, 64, "npy"), (16, 64, "npy"))
Starts = tuple[tuple[str, Mapping[str, object], tuple[str, ...], Cells], ...]
STARTS: Final[Starts] = (
    ("one process", {}, ("g28", "g64"), (*LOADS, (16, 64, "png"))),
    ("4 processes", {"api_workers": 4}, ("g64", "g28"), FULL),
    ("8 processes", {"api_workers": 8}, ("g64", "g28"), FULL),
    ("batches of 256", {"max_batch_samples": 256}, ("g64", "g28"), ((16, 64, "npy"), (64, 64, "npy"))),
    ("one slot", {"device_slots": 1}, ("g64", "g28"), ((16, 64, "npy"),)),
    ("bound tensors", {"device_binding": "on"}, ("g64", "g28"), ((16, 64, "npy"),)),
    ("bound and pinned", {"device_binding": "on", "device_pinned": "on"}, ("g64", "g28"), ((16, 64, "npy"),)),
    ("CUDA graphs", {"device_binding": "on", "device_graph": "on"}, ("g64", "g28"), ((16, 64, "npy"),)),
    ("fast", {"reproducibility": "fast"}, ("g64", "g28"), ((16, 64, "npy"),)),
    ("on the CPU", {"device": "cpu"}, ("g64", "g28"), ((16, 64, "npy"),)),
)
REHEARSED_STARTS: Final[Starts] = (("one process", {}, ("g28",), ((1, 8, "npy"), (16, 1, "png"))),)
WARM_UP_S: Final = 1.0
CELL_S: Final = 10.0  # that a cell may take
PROCESSES: Final = ("4 processes", "8 processes")


def measure_serve(notes: Notes) -> None:
    """Load the service."""
    for name, settings, networks, loads in notes.terms.pick(STARTS, REHEARSED_STARTS):
        notes.attempt(name, _serve, notes, name, settings, networks, loads)
    rows = notes.rows("serve")
    for network in ("g28", "g64"):
        for figure, wanted in ((f"{network}_n16", ("one process",)), (f"{network}_n16_processes", PROCESSES)):
            found = [
                float(str(row["samples_per_s"]))
                for row in rows
                if row["network"] == network and row["start"] in wanted and row["n"] == 16 and row["form"] == "npy"  # noqa: PLR2004
            ]
            if found:
                notes.figure(figure, max(found))


def _serve(
    notes: Notes, name: str, settings: Mapping[str, object], networks: Sequence[str], loads: Cells
) -> None:  # fmt: skip
    with serving(notes, networks, **settings) as (port, pid, seconds):
        notes.row("starts", start=name, first_sample_s=seconds)
        for network in networks:
            told: list[str] = []
            for n, connections, form in loads:
                cell = f"{name}: {network} {n}×{connections} {form}"
                if notes.terms.left_s < CELL_S:
                    notes.skip(cell, "no time was left")
                    continue
                work = Ours().work(Setting(network=network), port, n, form)
                row = notes.attempt(cell, _load, notes, work, connections, pid)
                if row is not None:
                    each = {"start": name, "network": network, "n": n, "connections": connections, "form": form}
                    notes.row("serve", **each, **row)
                    told.append(f"{n}×{connections} {form}: {row['samples_per_s']:,.0f}")
            notes.say(f"{name}, {network}, samples/s: {'; '.join(told)}"[:190])


def _load(notes: Notes, work: Work, connections: int, pid: int) -> Row:
    closed_loop.run(work, connections, WARM_UP_S)
    with gpu.Utilisation() as busy:
        row = cells.measure(cells.closed(work, connections, notes.terms.pick(2.0, 1.0)), pid, work.n, attempts=1)
    cpu_s, requests = float(row["server_cpu_s"] or 0), float(row["requests"] or 1)
    return {**row, "server_cpu_us": 1e6 * cpu_s / requests, "busy": busy.mean}


def measure_life(notes: Notes) -> None:
    """Start, reload under load, kill, and leave no memory."""
    notes.attempt("start", _start, notes)
    notes.attempt("reloads", _reloads, notes)
    notes.attempt("a killed engine", _killed, notes)
    if notes.terms.device == "cpu":
        notes.skip("a full device", "no CUDA device")
    else:
        notes.attempt("a full device", _full, notes)


def _start(notes: Notes) -> None:
    setting, port = Setting(network="mnist", environment={"GANYMEDE_DEVICE": notes.terms.device}), free_port()
    with Server(Ours().launch(setting, port)) as server:
        # Nothing but `/readyz` is asked before the first request that counts.
        _wait_ready(port)
        caller = Caller(port)
        times = timed(lambda: generate(caller, "mnist", [random.getrandbits(32)]), 1)
        seconds = time.monotonic() - server.started_s
        times += timed(lambda: generate(caller, "mnist", [random.getrandbits(32)]), notes.terms.pick(200, 10))
        rss, held = usage.memory_bytes(server.pid), gpu.memory_bytes()
    usual = median(times[1:])
    notes.row("start", first_sample_s=seconds, rss_bytes=rss, device_bytes=held, first_s=times[0], median_s=usual)
    notes.figure("first_of_median", times[0] / usual)
    device = f", {held / MEBIBYTE:.0f} MiB of the card" if held else ""
    notes.say(f"first sample after {seconds:.2f} s, {rss / MEBIBYTE:.0f} MiB{device}")
    notes.say(f"first request after ready: {1e3 * times[0]:.2f} ms, {times[0] / usual:.1f} × the median")


def _wait_ready(port: int) -> None:
    began_s = time.monotonic()
    while time.monotonic() - began_s < READY_S:
        with suppress(LoadFailed, OSError, http.client.HTTPException):
            Caller(port).get("/readyz")
            return
        time.sleep(POLL_S)
    raise LoadFailed(f"not ready in {READY_S:g} s")


def _reloads(notes: Notes) -> None:
    """A package comes and goes while another one is asked for."""
    memory: list[int] = []
    with serving(notes, ["mnist", SECOND_PACKAGE]) as (port, pid, _):
        caller = Caller(port)
        with crowd(notes, port, "mnist") as counts:
            for _ in range(notes.terms.pick(20, 2)):
                for change in ("unload", "load"):
                    caller.post(f"/v2/repository/models/{SECOND_PACKAGE}/{change}", b"")
                memory.append(gpu.memory_bytes() or usage.memory_bytes(pid))
                notes.row("reloads", memory_bytes=memory[-1])
    settled = memory[len(memory) // 4]
    drift = memory[-1] / settled - 1
    notes.figure("reload_drift", drift)
    notes.figure("reload_failures", counts["failed"])
    notes.say(
        f"{len(memory)} reloads: memory {100 * drift:+.1f} %, {counts['failed']} of {sum(counts.values())} failed"
    )


def _killed(notes: Notes) -> None:
    """The engine's process is killed: the service has to answer again, or to end so that it is started again."""
    with serving(notes, ["mnist"], api_workers=2) as (port, pid, _):
        engine = [each for each in usage.family(pid) if "engine_process" in _command(each)]
        os.kill(engine[0], signal.SIGKILL)
        began_s, outcome = time.monotonic(), "neither answered nor ended"
        while time.monotonic() - began_s < AGAIN_S:
            time.sleep(POLL_S)
            if not _command(pid):
                outcome = "the service ended"
                break
            with suppress(LoadFailed, OSError, http.client.HTTPException):
                generate(Caller(port), "mnist", [1])
                outcome = "it answered again"
                break
        seconds = time.monotonic() - began_s
    notes.row("killed", outcome=outcome, seconds=seconds)
    notes.say(f"an engine is killed: {outcome} after {seconds:.1f} s")
    if outcome.startswith("neither"):
        raise RuntimeError(f"a killed engine: {outcome} in {AGAIN_S:g} s")


def _command(pid: int) -> str:
    """The command line of a process; empty once it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _full(notes: Notes) -> None:
    """Where others hold the card's memory, the service has to refuse rather than to compute on the CPU."""
    with fresh_process({}) as other:
        taken = other.submit(fill, LEFT_BYTES).result()
        try:
            with serving(notes, ["mnist"]) as (port, _, _):
                outcome = (
                    f"it serves, on {', '.join(_found(json.loads(Caller(port).get('/models/mnist')), 'provider'))}"
                )
        except LoadFailed as error:
            outcome = f"refused: {error}"
        except RuntimeError as error:
            outcome = f"WRONG: {error}"
    notes.row("full", taken_bytes=taken, outcome=outcome)
    notes.say(f"{taken / MEBIBYTE:.0f} MiB of the card taken by others: {outcome}"[:190])
    if outcome.startswith("WRONG"):
        raise RuntimeError(outcome)


HELD: Final[list[object]] = []


def fill(left_bytes: int) -> int:
    """Take the card's memory in this process, until it ends.

    Returns:
        Bytes taken.
    """
    import torch  # noqa: PLC0415 - the service's stages do without

    free, _ = torch.cuda.mem_get_info()
    HELD.append(torch.empty(free - left_bytes, dtype=torch.uint8, device="cuda"))
    return int(free - left_bytes)
