"""Whenever a process of a bulk run is killed, the files in the end are those of a run that nothing disturbed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.__main__ import main
from tests.support.pages import ROOT
from tests.support.toy import write_toy_package

PATIENCE_S = 60.0
SAMPLES, SHARD = 12_000, 300


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder by its name, hidden ones included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a service with one package of images, which a class is drawn for."""
    folder = tmp_path_factory.mktemp("killed")
    write_toy_package(folder / "models", "toy", conditional=True, discriminator=False)
    chosen = {
        "MODELS_DIR": folder / "models",
        "CACHE_DIR": folder / "cache",
        "DEFAULT_MODEL": "toy",
        "MODEL_THREADS": 1,
    }
    return {f"GANYMEDE_{name}": str(value) for name, value in chosen.items()}


@pytest.fixture(scope="module", autouse=True)
def here(settings: dict[str, str]) -> Iterator[None]:
    """The same settings in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def undisturbed(here: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of a run that was never stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "out"
    assert main(["bulk", str(out), *begins()]) == 0
    found = tree(out)
    assert len(found) == SAMPLES // SHARD + 2
    return found


def begins() -> list[str]:
    return ["--n", str(SAMPLES), "--shard-size", str(SHARD), "--format", "tar", "--seed", "5"]


def start(settings: dict[str, str], *words: str | Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "service", "bulk", *map(str, words)],
        cwd=ROOT,
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until


def shards(folder: Path) -> int:
    return len(list(folder.glob("shard-*")))


def kill_at_random(process: "subprocess.Popen[str]", out: Path) -> None:
    """Kill a process some shards and some milliseconds from now."""
    chance = random.Random()  # noqa: S311 - any moment will do
    enough, after_s = shards(out) + chance.randint(0, 6), chance.uniform(0, 0.02)
    wait_until(lambda: (out / "plan.json").exists() and shards(out) >= enough, process)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began >= after_s, process)
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    assert process.returncode == -signal.SIGKILL


def test_killed_at_random_moments_and_resumed_it_writes_the_same_bytes(
    settings: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    kill_at_random(start(settings, out, *begins()), out)
    for process in [start(settings, out) for _ in range(2)]:  # which share the folder, each going on without the other
        kill_at_random(process, out)
    assert len(tree(out)) < SAMPLES // SHARD * 2
    assert main(["bulk", str(out)]) == 0  # the folder says what to draw
    said = capsys.readouterr().out
    assert "12,000 samples of toy/1 in 40 shards" in said
    assert "0 drawn now" not in said
    assert tree(out) == undisturbed


def test_parts_write_what_one_process_would_and_sigterm_drops_the_shard_at_hand(
    settings: dict[str, str], undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    first, second = (start(settings, out, *begins(), "--part", f"{part}/2", "--json") for part in (1, 2))
    wait_until((out / "shard-000003.tar").exists, second)
    second.send_signal(signal.SIGTERM)
    said, errors = second.communicate(timeout=PATIENCE_S)
    assert (second.returncode, said) == (143, "")
    assert re.fullmatch(
        rf"stopped: \d+ of 20 shards are there; `python -m service bulk {out} --part 2/2` goes on\n", errors
    )
    said, errors = first.communicate(timeout=PATIENCE_S)
    assert first.returncode == 0, errors
    drawn = json.loads(said)
    assert (drawn["shards"], drawn["samples"], drawn["found"], drawn["complete"]) == (20, 6_000, 0, False)
    assert [name for name in tree(out) if name.endswith(".part")] == []
    assert main(["bulk", str(out), "--part", "2/2"]) == 0
    assert "6,000 samples of toy/1 in 20 shards" in capsys.readouterr().out
    assert tree(out) == undisturbed


# Draws two shards in a child that kills itself at its k-th operation on a file, for every k, and goes on each time.
EVERY_MOMENT = """
import os, shutil, signal, sys
from pathlib import Path
from service.bulk.folder import BulkFolder
from service.bulk.plan import Plan

plan = Plan(model="toy", version=1, package_sha256="0", stack="0", request={}, first_seed=7, n=3, shard_size=2,
            format="npy", dtype=None)
OPERATIONS = {"open", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.listdir", "os.scandir", "fcntl.flock"}

def write(path):
    folder = BulkFolder(path)
    folder.claim(plan)
    for shard in plan.shards():
        if folder.finished(shard) is None:
            with folder.writing(shard) as file:
                for seed in range(shard.count):
                    file.write(b"sample %d" % (shard.first_seed + seed))
    assert folder.complete(plan)

def tree(path):
    return {str(each.relative_to(path)): each.read_bytes() for each in path.rglob("*") if each.is_file()}

def killed_at(moment, path):
    left = moment
    def hook(event, _):
        nonlocal left
        if event in OPERATIONS:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    write(path)
    os._exit(0)

base = Path(sys.argv[1])
write(base / "undisturbed")
moment, status = 0, None
while status != 0:
    path = base / "out"
    path.mkdir()
    (path / ".shard-000000.npy.part").write_bytes(b"what a killed process left" * 9)
    child = os.fork()
    if child == 0:
        killed_at(moment, path)
    status = os.waitpid(child, 0)[1]
    write(path)
    assert tree(path) == tree(base / "undisturbed"), moment
    shutil.rmtree(path)
    moment += 1
print(moment)
"""


def test_killed_between_any_two_operations_on_files_it_goes_on(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVERY_MOMENT, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs mount")
def test_a_full_disk_is_one_sentence_and_nothing_of_the_shard(
    undisturbed: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        assert main(["bulk", str(disk), *begins()]) == 2
        (sentence,) = capsys.readouterr().err.splitlines()
        assert "No space left on device; " in sentence
        assert "of 40 shards are there; make room, and run the command again to go on" in sentence
        assert [name for name in tree(disk) if name.endswith(".part")] == []
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        assert main(["bulk", str(disk)]) == 0
        assert tree(disk) == undisturbed
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)
