"""One load on one server that runs already: the harness's closed loop by hand, for whoever is looking for microseconds.

python -m benchmarks load http://127.0.0.1:8000 --model zero --n 1 --connections 64 --pid 1234
"""

import argparse
import json
import sys
from dataclasses import asdict

from benchmarks import closed_loop, usage
from benchmarks.closed_loop import json_work

WARM_UP_S = 1.0


def main(arguments: list[str]) -> None:
    """Load the server, and write what came of it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks load", description=__doc__)
    parser.add_argument("url", help="of the service, without a path")
    parser.add_argument("--model", default="zero", help="package")
    parser.add_argument("--n", type=int, default=1, help="samples of one request")
    parser.add_argument("--connections", type=int, default=1, help="at a time")
    parser.add_argument("--format", default="npy", help="of the answer: npy, png, json")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--pid", type=int, help="of the server; its processor time and memory are told then")
    parser.add_argument("--core", type=int, help="that the load generator is confined to")
    asked = parser.parse_args(arguments)
    work = json_work(f"{asked.url}/generate?format={asked.format}", asked.n, model=asked.model)
    closed_loop.run(work, asked.connections, WARM_UP_S, asked.core)
    before = usage.read(asked.pid)
    load = closed_loop.run(work, asked.connections, asked.seconds, asked.core)
    used = usage.between(before, usage.read(asked.pid), load.generator_cpu_s)
    found: dict[str, object] = {
        "requests_per_s": load.requests / load.wall_s,
        "samples_per_s": load.requests * asked.n / load.wall_s,
        **asdict(load),
        "cores": asdict(used),
    }
    if asked.pid is not None:
        found |= {
            "server_cpu_us_per_request": used.server * used.wall_s / load.requests / closed_loop.MICRO,
            "memory_bytes": usage.memory_bytes(asked.pid),
        }
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
