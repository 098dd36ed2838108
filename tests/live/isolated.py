"""A program that runs the service in a network namespace with only a loopback, and records its DNS queries.

    python -m tests.live.isolated HOME SECONDS SETTING=VALUE ...

It enters new network and mount namespaces, runs `python -m service` with HOME as its home folder, draws a sample, and
prints as JSON the queried names and the service's sockets other than its listeners. It needs root.
"""

import ctypes
import fcntl
import http.client
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

NEW_NETWORK, NEW_MOUNTS = 0x40000000, 0x00020000  # of unshare(2)
PRIVATE, BIND = 0x40000 | 0x4000, 0x1000  # of mount(2), the first with all below it
SET_FLAGS, UP = 0x8914, 0x1 | 0x40  # of netdevice(7)
PORT = 8123
PATIENCE_S = 60.0
QUESTION = 12  # bytes of a query before the name
SYSTEM = ctypes.CDLL(None, use_errno=True)


def checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def leave() -> None:
    """Enter a network with only a loopback, and its own name server."""
    checked(SYSTEM.unshare(NEW_NETWORK | NEW_MOUNTS))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sH14s", b"lo", UP, b""))
    checked(SYSTEM.mount(None, b"/", None, PRIVATE, None))
    with tempfile.NamedTemporaryFile("w", delete=False) as servers:
        servers.write("nameserver 127.0.0.1\n")
    checked(SYSTEM.mount(servers.name.encode(), b"/etc/resolv.conf", None, BIND, None))


def drawn() -> bool:
    """Whether the service has drawn a sample."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=5)
    with suppress(OSError):
        connection.request("POST", "/generate")
        return connection.getresponse().status == http.HTTPStatus.OK
    return False


def remotes() -> list[str]:
    """Remote addresses of this network's TCP and UDP sockets beyond the loopback, in the kernel's format."""
    rows = [
        row.split() for kind in ("tcp", "tcp6", "udp") for row in Path(f"/proc/net/{kind}").read_text().splitlines()
    ]
    ends = {row[2].split(":")[0] for row in rows if ":" in row[2]}
    return sorted(end for end in ends if end.strip("0") and not end.endswith("0100007F"))


def main() -> None:
    home, seconds, *settings = sys.argv[1:]
    leave()
    asked: set[str] = set()
    met: set[str] = set()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("GANYMEDE_", "ORT_"))}
    environment |= {"HOME": home, "GANYMEDE_PORT": str(PORT)} | dict(setting.split("=", 1) for setting in settings)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as names:
        names.bind(("127.0.0.1", 53))
        names.settimeout(0.2)
        service = subprocess.Popen([sys.executable, "-m", "service"], env=environment, stdout=subprocess.DEVNULL)
        try:
            limit = time.monotonic() + PATIENCE_S
            while not drawn() and time.monotonic() < limit:
                time.sleep(0.1)
            served = drawn()
            until = time.monotonic() + float(seconds)
            while time.monotonic() < until and not asked:
                met.update(remotes())
                with suppress(TimeoutError):
                    asked.add(repr(names.recv(512)[QUESTION:]))
        finally:
            service.terminate()
            service.wait()
    sys.stdout.write(json.dumps({"served": served, "asked": sorted(asked), "met": sorted(met)}))


if __name__ == "__main__":
    main()
