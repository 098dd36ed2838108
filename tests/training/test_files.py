"""Files: whole or not there, and in one process's hands."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from training.files import exclusive, write_atomically


def test_a_file_is_replaced_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, former[1]))  # the system's own "no space left", on a small scale
    try:
        with pytest.raises(OSError, match="File too large"):
            write_atomically(path, bytes(2_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_lock_keeps_other_processes_out_until_its_holder_is_gone(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from training.files import exclusive\n"
        "with exclusive(Path(sys.argv[1])) as number: print(number, flush=True); sys.stdin.read()"
    )
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "None\n"
        with exclusive(path) as number:
            assert number == str(holder.pid)
        holder.kill()
        holder.wait()
        with exclusive(path) as number:
            assert number is None
