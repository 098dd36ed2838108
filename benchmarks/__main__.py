"""`python -m benchmarks NAME`: one command for each question that the harness answers; `--help` lists them.

It knows the commands' names and nothing else: each is a module with a `main`, imported only when it is asked for, so
that what measures a server need not import what measures training.
"""

import os
import sys
from importlib import import_module
from typing import Final

from benchmarks.workplace import prepare

COMMANDS: Final = {
    "everything": "all experiments, and then the report",
    "serving": "the ceiling, our service and the peers in turn",
    "idle": "a lone caller: our latency, the peers' and the bare run's",
    "overhead": "processor time of a request and of a sample, beside the run",
    "burst": "from idle to 200 callers and back, ten times",
    "overload": "three and five times what the service can do, by callers with a deadline: what is answered in time",
    "start": "from nothing to the first sample: seconds and memory",
    "workers": "several HTTP processes in front of one engine",
    "training": "the trainer against the loops that people write",
    "cuda": "fixed buckets against batches as they come, on a CUDA device",
    "report": "tables and plots from the results",
    "packages": "write the packages of the fixed generators",
    "environments": "install the peers, each in an environment of its own",
    "load": "load one server that runs already, and say what came of it",
}


if not os.environ.get("ORT_DISABLE_TELEMETRY"):  # of the bare runs and the peers as of the service: equal terms
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def main() -> int:
    """Run one command.

    Returns:
        The process's exit code.
    """
    name, *arguments = sys.argv[1:] or ["--help"]
    if name not in COMMANDS:
        known = "".join(f"  {command:12} {meaning}\n" for command, meaning in COMMANDS.items())
        sys.stderr.write(f"usage: python -m benchmarks NAME [--help] …\n\n{known}")
        return 0 if name in {"-h", "--help"} else 2
    prepare()
    import_module(f"benchmarks.{name}").main(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
