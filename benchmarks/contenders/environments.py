"""Installs the peers, each in its own virtual environment, because their requirements conflict.

All get the ONNX Runtime version of this environment. Peer versions are pinned in `contenders.py`, and the installed
ones are written into every result.
"""

import json
import subprocess
import sys
import venv

import onnxruntime

from benchmarks.contenders.contenders import DEFAULT_PEERS, PEERS_BY_NAME, Peer, package_of
from benchmarks.workplace import LOGS, command
from training.progress import progress
from training.tables import nearest

INSTALL_TIMEOUT_S = 1200.0
READY = ".ready"  # the installed requirements; written last, so that an interrupted installation is repeated


def packages(peer: Peer) -> list[str]:
    """Requirements of a peer's environment, as pip arguments."""
    return [*peer.requirements, f"onnxruntime=={onnxruntime.__version__}", "numpy"]


def is_ready(peer: Peer) -> bool:
    """Whether a peer's environment exists and has the current requirements."""
    ready = peer.environment / READY
    return ready.is_file() and ready.read_text(encoding="utf-8").split() == packages(peer)


def install(peer: Peer) -> None:
    """Make a peer's environment, if it is missing or out of date.

    Raises:
        subprocess.CalledProcessError: pip failed; its output is in the logs.
    """
    if is_ready(peer):
        return
    venv.create(peer.environment, with_pip=True, clear=True)
    with (LOGS / f"{peer.name}-pip.log").open("wb") as log:
        subprocess.run(  # noqa: S603 - the harness's own command
            [str(peer.environment / "bin" / "python"), "-m", "pip", "install", *packages(peer)],
            check=True, stdout=log, stderr=subprocess.STDOUT, timeout=INSTALL_TIMEOUT_S,
        )  # fmt: skip
    (peer.environment / READY).write_text("\n".join(packages(peer)), encoding="utf-8")


def versions(peer: Peer) -> dict[str, str]:
    """The versions of a peer's own packages and of its ONNX Runtime."""
    listed = subprocess.run(  # noqa: S603 - the harness's own command
        [str(peer.environment / "bin" / "python"), "-m", "pip", "list", "--format=json"],
        check=True, capture_output=True, text=True, timeout=INSTALL_TIMEOUT_S,
    )  # fmt: skip
    wanted = {package_of(requirement) for requirement in packages(peer)}
    return {each["name"]: each["version"] for each in json.loads(listed.stdout) if each["name"] in wanted}


def main(arguments: list[str]) -> None:
    """Install the named peers, or the default ones."""
    parser = command("environments", __doc__, "litserve mosec")
    parser.add_argument("peers", nargs="*", help=f"of {', '.join(PEERS_BY_NAME)}; {' and '.join(DEFAULT_PEERS)}")
    names = parser.parse_args(arguments).peers or DEFAULT_PEERS
    if unknown := [name for name in names if name not in PEERS_BY_NAME]:
        parser.error(f"there is no peer {unknown[0]}{nearest(unknown[0], PEERS_BY_NAME)}")
    for name in progress(names, "installing", len(names), "peer"):
        install(PEERS_BY_NAME[name])
        sys.stdout.write(f"{name}: {json.dumps(versions(PEERS_BY_NAME[name]))}\n")
