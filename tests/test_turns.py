"""A test that measures runs while no other does, though several processes run tests."""

import json
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

from benchmarks.workplace import ROOT

TESTS = """
import json, os, time
import pytest

def run(name):
    began = time.monotonic()
    time.sleep(0.05)
    with open({log!r}, "a") as log:
        log.write(json.dumps([name, os.getpid(), began, time.monotonic()]) + "\\n")

@pytest.mark.parametrize("number", range(12))
def test_beside_others(number):
    run("beside")
{alone}
"""
ALONE = """
@pytest.mark.alone
@pytest.mark.parametrize("number", range(3))
def test_alone(number):
    run("alone")
"""


def test_what_is_marked_alone_overlaps_nothing_and_the_rest_runs_side_by_side(tmp_path: Path) -> None:
    log = tmp_path / "log"
    (tmp_path / "conftest.py").write_text(
        "from tests.support.turns import pytest_runtest_protocol, pytest_sessionfinish"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = alone")
    (tmp_path / "test_a.py").write_text(TESTS.format(log=str(log), alone=ALONE))
    (tmp_path / "test_b.py").write_text(TESTS.format(log=str(log), alone=ALONE))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    environment |= {"PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", str(tmp_path)]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=120)
    ran = sorted((json.loads(line) for line in log.read_text().splitlines()), key=lambda each: each[2])
    assert len(ran) == 30
    assert len({process for _, process, *_ in ran}) == 2
    overlapping = [{before[0], after[0]} for before, after in pairwise(ran) if after[2] < before[3]]
    assert {"beside"} in overlapping
    assert not any("alone" in names for names in overlapping)
    assert not list(tmp_path.glob("ganymede-tests-*"))
