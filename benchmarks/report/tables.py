"""Markdown tables: each is a function from a folder of results to lines."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.contenders.contenders import PEERS_BY_NAME
from benchmarks.experiments import serving
from benchmarks.report.figures import (
    CEILING,
    MEBIBYTE,
    MILLI,
    MISSING,
    At,
    contenders,
    figure,
    median,
    number,
    of,
    overheads,
    percent,
    png_shares,
    shares,
)
from benchmarks.results import Found, Value, chosen, numbers, read

Lines = Iterator[str]

SINGLES: Final[At] = {"loop": "closed", "n": 1, "connections": serving.MANY, "answer": "npy"}
LARGE: Final[At] = {"loop": "closed", "n": serving.LARGE_N, "connections": serving.LARGE_N, "answer": "npy"}


def machine(folder: Path) -> Lines:
    """Machine and versions."""
    found = read("serving", folder)
    versions, peers = found.machine.get("versions"), found.settings.get("peers")
    if not isinstance(versions, Mapping) or not isinstance(peers, Mapping):
        yield "*Not measured so far.*"
        return
    facts = found.machine
    listed = ", ".join(f"{name} {version}" for name, version in versions.items())
    others = ", ".join(f"{name} {told[PEERS_BY_NAME[name].package]}" for name, told in peers.items())
    yield f"{facts['processor']}, {facts['cores']} cores, {facts['memory']}; {facts['system']};"
    yield f"Python {facts['python']}; {listed}. Peers: {others or 'none'}."
    yield f"Commit {facts['commit']}, {facts['measured']}."


def saturation(folder: Path) -> Lines:
    """Closed loops: samples a second, share of the ceiling, p99."""
    found = read("serving", folder)
    heads = "n = 1 by 64: samples/s", "of the ceiling", "p99 ms", "n = 16 by 16: samples/s", "of the ceiling"
    yield f"| generator | server | {' | '.join(heads)} |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: |"
    for network in _distinct(found, "network"):
        noisy = any(row["quiet"] is False for row in chosen(found.rows, network=network, contender=CEILING))
        top = figure(_ceilings(found, network), noisy=noisy)
        yield f"| `{network}` | the ceiling | {top} | | | {top} | |"
        for name in contenders(found.rows, network=network):
            at: At = {"network": network, "contender": name}
            cells = [
                of(found.rows, "samples_per_s", {**at, **SINGLES}),
                percent(shares(found, network, name, SINGLES)),
                of(found.rows, "p99_s", {**at, **SINGLES}, MILLI, 1),
                of(found.rows, "samples_per_s", {**at, **LARGE}),
                percent(shares(found, network, name, LARGE)),
            ]
            yield f"| `{network}` | {name} | {' | '.join(cells)} |"


def rates(folder: Path) -> Lines:
    """Open loops: latency at a constant rate."""
    found = read("serving", folder)
    yield "| server | " + " | ".join(f"{share:.0%} of the ceiling: p50 / p99 ms" for share in serving.RATES) + " |"
    yield "| --- |" + " ---: |" * len(serving.RATES)
    for name in contenders(found.rows, network="g28", loop="open"):
        cells = []
        for share in serving.RATES:
            at: At = {"network": "g28", "contender": name, "loop": "open", "rate_share": share}
            failed = any(row["kept"] is False for row in chosen(found.rows, **at))
            times = [of(found.rows, key, at, MILLI, 1) for key in ("p50_s", "p99_s")]
            cells.append("does not keep the rate" if failed else " / ".join(times))
        yield f"| {name} | {' | '.join(cells)} |"


def forms(folder: Path) -> Lines:
    """Throughput of our service by response format."""
    found = read("serving", folder)
    yield "| generator | form | n = 1 by 16: samples/s | n = 16 by 16: samples/s |"
    yield "| --- | --- | ---: | ---: |"
    for network in _distinct(found, "network"):
        for answer in ("json", "png"):
            at: At = {"network": network, "contender": "ganymede", "answer": answer}
            cells = [of(found.rows, "samples_per_s", {**at, "n": n}) for n in (1, serving.LARGE_N)]
            yield f"| `{network}` | {answer} | {' | '.join(cells)} |"


def one_connection(folder: Path) -> Lines:
    """Median latency on one connection, and memory."""
    found = read("idle", folder)
    rhythms = _distinct(found, "rhythm")
    yield "| | " + " | ".join(f"{rhythm}: p50 ms" for rhythm in rhythms) + " | memory MiB |"
    yield "| --- |" + " ---: |" * (len(rhythms) + 1)
    for threads in dict.fromkeys(row["threads"] for row in chosen(found.rows, contender="bare run")):
        at: At = {"contender": "bare run", "threads": threads}
        cells = [of(found.rows, "p50_s", {**at, "rhythm": rhythm}, MILLI, 3) for rhythm in rhythms]
        yield f"| the bare run, threads: {threads} | {' | '.join(cells)} | |"
    for name in contenders(found.rows):
        cells = [of(found.rows, "p50_s", {"contender": name, "rhythm": rhythm}, MILLI, 3) for rhythm in rhythms]
        memory = of(found.rows, "memory_bytes", {"contender": name, "rhythm": rhythms[0]}, MEBIBYTE)
        yield f"| {name} | {' | '.join(cells)} | {memory} |"


def costs(folder: Path) -> Lines:
    """Processor time of a request and of a sample beyond the run."""
    found = read("overhead", folder)
    yield "| generator | a request, µs | a sample, µs | the bare run, µs a sample | PNG of one, of the request's CPU |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for network in _distinct(found, "network"):
        request, sample = overheads(found.rows, network)
        noisy = any(row["quiet"] is False for row in chosen(found.rows, network=network))
        bare = of(found.rows, "cpu_us_per_sample", {"network": network, "what": "bare"}, digits=1)
        cells = [figure(request, noisy=noisy), figure(sample, 1, noisy=noisy), bare]
        yield f"| `{network}` | {' | '.join(cells)} | {percent(png_shares(found.rows, network))} |"


def crowds(folder: Path) -> Lines:
    """Latency and memory in repeated bursts."""
    yield "| cycle | median ms | worst ms | worst / median | RSS MiB |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    for row in read("burst", folder).rows:
        memory = f"{number(row, 'rss_bytes') / MEBIBYTE:.1f}"
        if row["cycle"] == 0:
            yield f"| before | | | | {memory} |"
            continue
        middle, worst = number(row, "p50_s"), number(row, "worst_s")
        cells = [f"{middle / MILLI:.1f}", f"{worst / MILLI:.1f}", f"{worst / middle:.2f}", memory]
        yield f"| {row['cycle']} | {' | '.join(cells)} |"


def overloads(folder: Path) -> Lines:
    """Goodput under overload."""
    found = read("overload", folder)
    yield (
        "| server | load | answered in time, of capacity | of what was computed | p50 of those, ms "
        "| p99 of all answered, ms | p50 of those refused or late, ms | as fast as before after, s |"
    )
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for name in _distinct(found, "server"):
        for load in dict.fromkeys(row["load"] for row in found.rows):
            rows = list(chosen(found.rows, server=name, load=load))
            shares = [number(row, "goodput_samples_per_s") / number(row, "capacity_samples_per_s") for row in rows]
            cells = [
                f"{figure([100 * share for share in each])} %" for each in (shares, numbers(rows, "good_of_computed"))
            ]
            waits = [of(rows, key, {}, MILLI) for key in ("good_p50_s", "answered_p99_s", "lost_p50_s")]
            yield f"| {name} | {load} | {' | '.join((*cells, *waits, of(rows, 'recovery_s', {}, digits=1)))} |"


def weights(folder: Path) -> Lines:
    """What each key got of what was answered in time, under overload."""
    found = read("overload", folder)
    rows = [row for row in found.rows if "goodput_heavy" in row]
    keys = ("light", "middle", "heavy", "limited")
    yield "| load | weight 1 | weight 2 | weight 4 | with a quota of one request a second |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for load in dict.fromkeys(row["load"] for row in rows):
        at = list(chosen(rows, load=load))
        cells = []
        for key in keys:
            parts = [number(row, f"goodput_{key}") / number(row, "goodput_samples_per_s") for row in at]
            cells.append(f"{figure([100 * part for part in parts])} %")
        yield f"| {load} | {' | '.join(cells)} |"


def starts(folder: Path) -> Lines:
    """Time to the first sample, and memory."""
    rows = read("start", folder).rows
    yield "| start | first sample, s | all ready, s | RSS MiB | image MiB |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    image = of(rows, "bytes", {"what": "image"}, MEBIBYTE)
    for what in ("first", "again", "all"):
        cells = [of(rows, key, {"what": what}, digits=2) for key in ("first_sample_s", "all_ready_s")]
        cells.append(of(rows, "rss_bytes", {"what": what}, MEBIBYTE))
        yield f"| {what} | {' | '.join(cells)} | {image} |"


def processes(folder: Path) -> Lines:
    """Throughput with one and several HTTP processes."""
    found = read("workers", folder)
    counts = list(dict.fromkeys(row["workers"] for row in found.rows))
    yield "| generator | n, connections | " + " | ".join(f"processes: {count}, samples/s" for count in counts) + " |"
    yield "| --- | --- |" + " ---: |" * len(counts)
    for network, n, connections in dict.fromkeys((row["network"], row["n"], row["connections"]) for row in found.rows):
        at: At = {"network": network, "n": n, "connections": connections}
        cells = [of(found.rows, "samples_per_s", {**at, "workers": count}) for count in counts]
        yield f"| `{network}` | {n}, {connections} | {' | '.join(cells)} |"


def trainers(folder: Path) -> Lines:
    """Training speed of our loop and others."""
    found = read("training", folder)
    yield "| configuration | loop | samples/s | of ours |"
    yield "| --- | --- | ---: | ---: |"
    for config in _distinct(found, "config"):
        ours = median(found.rows, "samples_per_s", {"config": config, "loop": "ganymede"})
        for loop in dict.fromkeys(str(row["loop"]) for row in chosen(found.rows, config=config)):
            at: At = {"config": config, "loop": loop}
            theirs = median(found.rows, "samples_per_s", at)
            ratio = MISSING if ours is None or theirs is None else f"{theirs / ours:.2f}"
            yield f"| `{config}` | {loop} | {of(found.rows, 'samples_per_s', at)} | {ratio} |"


def devices(folder: Path) -> Lines:
    """Fixed batch sizes against batches of any size, on a device."""
    found = read("cuda", folder)
    if not found.rows:
        yield "*Not measured so far: no CUDA device was at hand.*"
        return
    yield "| sessions | samples/s |"
    yield "| --- | ---: |"
    for way in _distinct(found, "way"):
        yield f"| {way} | {of(found.rows, 'samples_per_s', {'way': way})} |"


def _distinct(found: Found, key: str) -> list[str]:
    """The values of a field, in the order in which they were measured."""
    return list(dict.fromkeys(str(row[key]) for row in found.rows if key in row))


def _ceilings(found: Found, network: str) -> list[float]:
    """The ceiling in each round."""
    rows = list(chosen(found.rows, network=network, contender=CEILING))
    turns: list[Value] = list(dict.fromkeys(row["round"] for row in rows))
    return [max(numbers(rows, "samples_per_s", round=turn)) for turn in turns]


TABLES: Final[Mapping[str, Callable[[Path], Lines]]] = {
    "machine": machine,
    "saturation": saturation,
    "rates": rates,
    "forms": forms,
    "one-connection": one_connection,
    "costs": costs,
    "crowds": crowds,
    "overloads": overloads,
    "weights": weights,
    "starts": starts,
    "processes": processes,
    "trainers": trainers,
    "devices": devices,
}
