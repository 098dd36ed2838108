"""Fuzzing finds every kind of failure in controls that are broken on purpose, and none in the service's readers."""

import json
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.load.usage import family
from benchmarks.trust import controls, fuzz, targets, wire
from benchmarks.trust.inputs import MAX_BYTES
from benchmarks.trust.isolation import CORPUS, START_S, Kind, corpus_of, input_of, load, read_inputs

INPUTS = 100
CONTROL_INPUTS = range(16)
MOST_CORPUS_BYTES = 200_000


@pytest.mark.parametrize(
    ("control", "kind"),
    [
        ("raises", "exception"),
        ("answers-wrongly", "wrong"),
        ("hangs", "hang"),
        ("allocates", "memory"),
        ("allocates-elsewhere", "memory"),
        ("allocates-all", "memory"),
        ("computes", "slow"),
        ("crashes", "crash"),
    ],
)
def test_a_failure_of_each_kind_is_told_by_its_input(control: str, kind: Kind, tmp_path: Path) -> None:
    target = load(control)
    fatal = [number for number in CONTROL_INPUTS if controls.is_fatal(input_of(target, control, 13, number, corpus=[]))]
    *_, reading = read_inputs(control, 13, CONTROL_INPUTS, tmp_path, hang_s=0.5 if kind == "hang" else 10.0)
    assert fatal
    assert [(found.number, found.kind) for found in reading.findings] == [(number, kind) for number in fatal]
    assert reading.inputs == len(CONTROL_INPUTS)


def test_an_input_follows_from_seed_target_and_number() -> None:
    target = load("png")
    first = [input_of(target, "png", 1, number, []) for number in range(50)]
    assert first == [input_of(load("png"), "png", 1, number, []) for number in range(50)]
    assert first != [input_of(target, "png", 2, number, []) for number in range(50)]
    assert len(set(first)) > 40
    assert all(len(content) <= MAX_BYTES for content in first)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", [*targets.TARGETS, *wire.TARGETS])
def test_a_reader_reads_or_refuses_fuzzed_inputs_and_past_findings(name: str) -> None:
    target, corpus = load(name), corpus_of(name, CORPUS)
    with target.opened() as opened:
        for number in range(-len(corpus), INPUTS):
            with suppress(*target.declared):
                opened.read(input_of(target, name, 0, number, corpus))


def test_past_findings_are_few_and_of_targets_that_there_are() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < MOST_CORPUS_BYTES
    assert {path.parent.name for path in files} <= fuzz.TARGETS.keys()


def test_the_command_counts_what_it_reads_and_ends_with_1_where_it_finds_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz, "FINDINGS", tmp_path / "findings")
    arguments = ["--target", "npy", "--target", "answers-wrongly", "--seed", "13", "--out", str(tmp_path)]
    assert fuzz.main([*arguments, "--inputs", "320"]) == 1
    npy, control = json.loads((tmp_path / "fuzz.json").read_text())["rows"]
    assert (npy["inputs"], npy["read"] + npy["refused"], npy["findings"]) == (295, 295, 0)
    assert npy["peak_mib"] < npy["limit_mib"]
    assert control["inputs"] == 24
    told, *others = (tmp_path / "findings").glob("*.json")
    assert control["findings"] == 1 + len(others)
    found = json.loads(told.read_text())
    assert controls.is_fatal(told.with_suffix("").read_bytes())
    assert (found["target"], found["kind"], found["words"]) == ("answers-wrongly", "wrong", "500")


@pytest.mark.parametrize(
    ("received", "expected"),
    [
        (b"", []),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n", [200, 500]),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nHTTP/1.1 500 X\r\n\r\n", [200]),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 X\r\ncontent-length: 0\r\n\r\n", [100, 404]),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nHTTP/1.1 503 X\r\n\r\n",
            [200, 503],
        ),
    ],
)
def test_the_statuses_of_a_connection_are_those_of_its_answers(received: bytes, expected: list[int]) -> None:
    assert wire.statuses(received) == expected


def test_fuzzing_that_is_ended_leaves_no_process() -> None:
    fuzzing = subprocess.Popen(
        [sys.executable, "-m", "benchmarks", "fuzz", "--target", "png", "--inputs", "100000000"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        until_s = time.monotonic() + START_S
        while len(started := family(fuzzing.pid)) < 2 and time.monotonic() < until_s:
            time.sleep(0.05)
        fuzzing.terminate()
        assert fuzzing.wait(START_S) == 128 + signal.SIGTERM
    finally:
        fuzzing.kill()
    assert len(started) == 2
    # A process that was killed is there until the system has taken note of it.
    while left := [pid for pid in started if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until_s, left
        time.sleep(0.05)
