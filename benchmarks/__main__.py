"""`python -m benchmarks NAME` runs one experiment or tool; `--help` lists them."""
# PYTHON_ARGCOMPLETE_OK: a shell's completion looks for this word.

import argparse
import os
import signal
import subprocess
import sys
from importlib import import_module
from typing import Final

import service
from benchmarks.workplace import ROOT, command, prepare
from training.command_line import Parser, main, program, run

# name: (module, or None for this one; what it does). Imported on use: measuring a server needs no torch.
COMMANDS: Final[dict[str, tuple[str | None, str]]] = {
    "everything": (None, "all experiments, and then the report"),
    "serving": ("experiments.serving", "the ceiling, our service and the peers in turn"),
    "idle": ("experiments.idle", "one connection: latency of our service, the peers and the bare run"),
    "overhead": ("experiments.overhead", "processor time of a request and of a sample, without the run"),
    "burst": ("experiments.burst", "from idle to 200 clients and back, ten times"),
    "overload": (
        "experiments.overload",
        "three and five times the capacity, by clients with a deadline: what is answered in time",
    ),
    "start": ("experiments.start", "from nothing to the first sample: seconds and memory"),
    "workers": ("experiments.workers", "several HTTP processes in front of one engine"),
    "training": ("experiments.training", "the trainer against other training loops"),
    "cuda": ("experiments.cuda", "fixed batch sizes against batches of any size, on a CUDA device"),
    "device": ("device.__main__", "the acceptance on a CUDA device, stage by stage, with pass marks"),
    "fuzz": ("trust.fuzz", "fuzzed inputs to every reader of untrusted bytes, and to a service"),
    "soak": ("trust.soak", "half an hour of mixed load: every answer as known, and nothing that grows"),
    "chaos": ("trust.chaos", "faults in a real service: what is lost, and how soon it is healthy"),
    "capacity": (
        "capacity.capacity",
        "a simulated fleet: checked against the service, then replicas and cost at scale",
    ),
    "report": ("report.report", "tables and plots from the results"),
    "packages": ("contenders.packages", "write the packages of the fixed generators"),
    "environments": ("contenders.environments", "install the peers, each in its own virtual environment"),
    "load": ("load.cells", "load one running server, and print the result"),
}


EXAMPLES: Final = (
    ("everything --quick", "each experiment once, shortly"),
    ("serving --networks g28 --peers litserve", "beside one peer"),
    ("load http://127.0.0.1:8000 --model mnist", "load a service that runs already"),
    ("device --out /tmp/device --rehearse", "rehearse the acceptance on the CPU"),
)

if not os.environ.get("ORT_DISABLE_TELEMETRY"):  # the service does the same: equal conditions
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def parser() -> Parser:
    """Make the parser of the program; each command parses its own arguments."""
    made = program("python -m benchmarks", service.__version__, "Measure the service and the trainer.", EXAMPLES)
    known = "\n".join(f"  {command:12} {meaning}" for command, (_, meaning) in COMMANDS.items())
    made.usage = "%(prog)s NAME [--help] …"
    made.epilog = f"names:\n{known}\n\n{made.epilog}"
    made.add_argument("name", metavar="NAME", choices=COMMANDS, help="of the experiment or tool")
    made.add_argument("arguments", nargs=argparse.REMAINDER, metavar="…", help="its own; NAME --help lists them")
    made.set_defaults(command=_run_command, json=False)
    return made


def _run_command(asked: argparse.Namespace) -> None:
    """Run one command; ends the process where it has an exit code of its own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what it started is ended on the way out
    prepare()
    module, _ = COMMANDS[asked.name]
    found = _run_everything if module is None else import_module(f"benchmarks.{module}").main
    code = found(asked.arguments)
    if code:
        sys.exit(code)


EXPERIMENTS: Final = ("serving", "idle", "overhead", "burst", "overload", "start", "workers", "cuda", "training")


def _run_everything(arguments: list[str]) -> None:
    """Run everything; ends with exit code 1 if an experiment failed."""
    made = command("everything", COMMANDS["everything"][1], "--quick")
    made.add_argument("--quick", action="store_true", help="one short round of each, and no report")
    asked = made.parse_args(arguments)
    quick = ["--quick"] if asked.quick else []
    failed = [name for name in EXPERIMENTS if not _run(name, *quick)]
    if not quick and not _run("report"):
        failed.append("report")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _run(name: str, *arguments: str) -> bool:
    command = [sys.executable, "-m", "benchmarks", name, *arguments]
    return subprocess.run(command, cwd=ROOT, check=False).returncode == 0  # noqa: S603 - the harness's own command


if __name__ == "__main__":
    run(lambda: main(parser()))
