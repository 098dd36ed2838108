"""Files: whole or not there, and in one process's hands."""

import os
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


def test_several_processes_may_replace_one_file_and_each_reader_sees_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "page"
    program = (
        "import sys; from pathlib import Path; from training.files import write_atomically\n"
        "for _ in range(100): write_atomically(Path(sys.argv[1]), sys.argv[2].encode() * 100_000)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), letter]) for letter in "ab"]
    seen = set()
    while any(writer.poll() is None for writer in writers):
        if path.exists():
            content = path.read_bytes()
            assert (len(content), len(set(content))) == (100_000, 1)
            seen.add(content[:1])
    assert [writer.returncode for writer in writers] == [0, 0]
    assert seen == {b"a", b"b"}
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_removed_and_what_another_one_writes_is_not(tmp_path: Path) -> None:
    path, old, new = tmp_path / "page", tmp_path / ".page.0123.part", tmp_path / ".page.4567.part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    write_atomically(path, b"whole")
    assert set(tmp_path.iterdir()) == {path, new}


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
