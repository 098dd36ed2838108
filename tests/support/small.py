"""A training run of seconds on the bundled digits, as a TOML configuration and as real command-line processes."""

import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from training import config as configuration
from training.config import Config
from training.tables import Value, to_toml

SECTIONS: Final[dict[str, dict[str, Value]]] = {
    "data": {"kind": "digits"},
    "generator": {"latent_size": 8, "widths": [16, 12, 8], "norm": "batch"},
    "discriminator": {"widths": [8, 16]},
    "objective": {"kind": "relativistic", "gamma_r1": 0.5, "gamma_r2": 0.5, "gamma_final_fraction": 0.1},
    "trainer": {
        "total_samples": 1_280,
        "batch_size": 16,
        "learning_rate_generator": 1e-3,
        "learning_rate_discriminator": 1e-3,
        "learning_rate_final_fraction": 0.1,
        "ema_half_life_samples": 500,
        "log_every_samples": 160,
        "grid_every_samples": 640,
        "checkpoint_every_samples": 320,
    },
    "diagnostics": {"every_samples": 320, "probe_samples": 64, "classifier": False},
}
PATIENCE_S: Final = 60.0
POLL_S: Final = 0.01


def text(**changes: dict[str, Value]) -> str:
    """The configuration as TOML, with changed keys; a table with another `kind` is replaced."""
    lines = 'name = "small"\nseed = 3\n'
    for name in {**SECTIONS, **changes}:
        table, change = SECTIONS.get(name, {}), changes.get(name, {})
        merged = change if change.get("kind", table.get("kind")) != table.get("kind") else {**table, **change}
        lines += f"[{name}]\n{to_toml(merged)}"
    return lines


def config(**changes: dict[str, Value]) -> Config:
    """The configuration as `text` writes it, parsed."""
    return configuration.loads(text(**changes))


def launch(*arguments: str | Path, interpreter: tuple[str, ...] = ("-m", "training")) -> subprocess.Popen[str]:
    """Start the command line as a process with one thread."""
    return subprocess.Popen(
        [sys.executable, *interpreter, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def command(*arguments: str | Path) -> tuple[int, str, str]:
    """Run the command line to its end; returns exit code, stdout, stderr."""
    process = launch(*arguments)
    output, errors = process.communicate(timeout=PATIENCE_S)
    return process.returncode, output, errors


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until a condition holds; fails if the process ends before."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline_s
        time.sleep(POLL_S)


def tables(path: Path) -> dict[str, dict[str, object]]:
    """A TOML file as plain values."""
    return tomllib.loads(path.read_text(encoding="utf-8"))
