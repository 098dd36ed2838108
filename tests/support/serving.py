"""Runs `python -m service` as a process on a free port.

Its log is read while it runs, so that tests wait for events ("listening", "packages loaded") and need no sleeps.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import httpx

ROOT = Path(__file__).parents[2]
# For a slow machine; a start takes a few seconds.
TIMEOUT_S = 60.0

LogLine = dict[str, object]


class ServiceProcess:
    """One process of the service; leaving the block kills it if it still runs.

    Args:
        models_dir: folder of packages, or a URL; then `cache_dir` is among the settings.
        launcher: prefix of the command.
        **settings: by name in lower case. Defaults: `toy` as the default model, a free port, one thread a session, a
            cache beside the models.

    Attributes:
        models_dir: as given.
        log: its lines so far.
    """

    def __init__(self, models_dir: Path | str, launcher: Sequence[str] = (), **settings: str | float | Path) -> None:
        cache_dir = Path(models_dir).parent / "cache"
        own = {"models_dir": models_dir, "cache_dir": cache_dir, "default_model": "toy", "port": 0, "model_threads": 1}
        chosen = own | settings
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GANYMEDE_")}
        environment |= {f"GANYMEDE_{name.upper()}": str(value) for name, value in chosen.items()}
        self.models_dir = Path(models_dir)
        self.log: list[LogLine] = []
        self._written = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [*launcher, sys.executable, "-m", "service"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read_log)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self.wait()

    @property
    def port(self) -> int:
        """The port; waits until the service listens."""
        port = self.wait_for("listening")["port"]
        assert isinstance(port, int)
        return port

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    def client(self, **headers: str) -> httpx.Client:
        """Make a client without a proxy, with a timeout for slow machines."""
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", headers=headers, timeout=TIMEOUT_S, trust_env=False
        )

    def loaded(self) -> Self:
        """Wait until every package is loaded or refused."""
        self.wait_for("packages loaded")
        return self

    def wait_for(self, event: str, **fields: object) -> LogLine:
        """Wait for a log line with this event and these fields, and return it."""
        wanted = {"event": event} | fields
        with self._written:
            self._written.wait_for(lambda: self._ended or self.lines(**wanted), TIMEOUT_S)
            lines = self.lines(**wanted)
        assert lines, f"the log has no line with {wanted}: {self.log}"
        return lines[0]

    def lines(self, **fields: object) -> list[LogLine]:
        """Log lines so far that have these fields."""
        return [line for line in self.log if fields.items() <= line.items()]

    def terminate(self) -> None:
        """Send SIGTERM, as an orchestrator does."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, as a kernel without memory does."""
        self._process.kill()

    def hang_up(self) -> None:
        """Send SIGHUP, as a terminal that is closed does."""
        self._process.send_signal(signal.SIGHUP)

    def wait(self) -> int:
        """Wait for its end; returns its exit code."""
        code = self._process.wait(TIMEOUT_S)
        self._reader.join()
        return code

    def _read_log(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                with self._written:
                    self.log.append(json.loads(line))
                    self._written.notify_all()
        with self._written:
            self._ended = True
            self._written.notify_all()


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        port: int = any_socket.getsockname()[1]
        return port


def metric(client: httpx.Client, name: str, **labels: str) -> float:
    """Sum of the samples of a metric that have these labels, by `/metrics`."""
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in client.get("/metrics").text.splitlines() if line.split("{")[0].split(" ")[0] == name]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(each in line for each in wanted))
