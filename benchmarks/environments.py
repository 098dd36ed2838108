"""The peers' virtual environments: one each, made once, with the ONNX Runtime that we measure ours with.

Their requirements contradict each other's and ours, and none of them is needed to serve or to train. The versions that
were found are written into every result.
"""

import argparse
import json
import subprocess
import sys
import venv

import onnxruntime

from benchmarks.contenders import DEFAULT_PEERS, PEERS_BY_NAME, Peer
from benchmarks.workplace import LOGS

INSTALL_TIMEOUT_S = 1200.0
READY = ".ready"  # written last, so that a broken installation is begun again


def install(peer: Peer) -> None:
    """Make a peer's environment, if it is not there.

    Raises:
        subprocess.CalledProcessError: pip failed; its words are in the logs.
    """
    ready = peer.environment / READY
    if ready.is_file():
        return
    venv.create(peer.environment, with_pip=True, clear=True)
    with (LOGS / f"{peer.name}-pip.log").open("wb") as log:
        subprocess.run(  # noqa: S603 - the harness's own command
            [str(peer.environment / "bin" / "python"), "-m", "pip", "install", *peer.requirements,
             f"onnxruntime=={onnxruntime.__version__}", "numpy"],
            check=True, stdout=log, stderr=subprocess.STDOUT, timeout=INSTALL_TIMEOUT_S,
        )  # fmt: skip
    ready.touch()


def versions(peer: Peer) -> dict[str, str]:
    """The versions of a peer's own packages and of its ONNX Runtime."""
    listed = subprocess.run(  # noqa: S603 - the harness's own command
        [str(peer.environment / "bin" / "python"), "-m", "pip", "list", "--format=json"],
        check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S,
    )  # fmt: skip
    wanted = {name.partition("[")[0].partition("=")[0] for name in peer.requirements} | {"onnxruntime"}
    return {each["name"]: each["version"] for each in json.loads(listed.stdout) if each["name"] in wanted}


def main(arguments: list[str]) -> None:
    """Install the peers that are named, or the default ones."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks environments", description=__doc__)
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(PEERS_BY_NAME)}; {' and '.join(DEFAULT_PEERS)}")
    for name in parser.parse_args(arguments).peers or DEFAULT_PEERS:
        install(PEERS_BY_NAME[name])
        sys.stdout.write(f"{name}: {json.dumps(versions(PEERS_BY_NAME[name]))}\n")
