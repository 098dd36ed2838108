"""Fuzzed inputs to every reader of untrusted bytes, and to a real service over sockets.

Each input must be read or refused by a declared error, within a limit of time and of memory; over HTTP nothing is
answered by 5xx, and samples keep their bytes. Input NUMBER of a target follows from the seed, so that
`--target NAME --seed SEED --first NUMBER --inputs 1` reads it again. Findings are written to .work/findings; those of
the past are in benchmarks/trust/corpus, and are read first.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from benchmarks import results, workplace
from benchmarks.results import Row
from benchmarks.trust import targets, wire
from benchmarks.trust.inputs import MAX_BYTES, MEBIBYTE
from benchmarks.trust.isolation import CORPUS, Finding, Reading, corpus_of, input_of, load, read_inputs
from benchmarks.workplace import WORK
from training.command_line import Parser

TARGETS: Final = {**targets.TARGETS, **wire.TARGETS}
FINDINGS: Final = WORK / "findings"
INPUTS: Final = 1_000_000
QUICK_INPUTS: Final = 2_000
MOST_WORDS: Final = 300  # characters shown; the file has all


def shares(names: list[str], inputs: int) -> dict[str, int]:
    """Divide inputs among targets, by their parts; each has at least one."""
    parts = {name: TARGETS[name][1] if name in TARGETS else 1 for name in names}
    return {name: max(1, inputs * part // sum(parts.values())) for name, part in parts.items()}


def fuzz(name: str, seed: int, numbers: range, folder: Path, until_s: float) -> Iterator[Reading]:
    """Read a target's inputs, until they or the time are used up.

    Args:
        numbers: of the inputs.
        folder: of the corpus.
        until_s: on the monotonic clock.

    Yields:
        What was found so far.
    """
    for reading in read_inputs(name, seed, numbers, folder):
        yield reading
        if time.monotonic() > until_s:
            return


def keep(finding: Finding, folder: Path, corpus: Path) -> Path:
    """Write a finding's input, and beside it what was seen."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{finding.target}-{finding.seed}-{finding.number}"
    target = load(finding.target)
    content = input_of(target, finding.target, finding.seed, finding.number, corpus_of(finding.target, corpus))
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps(asdict(finding), indent=1) + "\n", encoding="utf-8")
    return path


def row_of(name: str, reading: Reading, took_s: float) -> Row:
    """The row of a target in the results."""
    return {
        "target": name,
        "inputs": reading.inputs,
        "seconds": round(took_s, 1),
        "read": reading.outcomes["read"],
        "refused": sum(reading.outcomes.values()) - reading.outcomes["read"],
        "findings": len(reading.findings),
        "peak_mib": round(reading.peak_bytes / MEBIBYTE, 1),
        "limit_mib": load(name).memory_bytes // MEBIBYTE,
        "longest_ms": round(reading.longest_s * 1000, 1),
    }


def parser() -> Parser:
    """Make the argument parser."""
    made = workplace.parser("fuzz", __doc__, "--target png --seconds 60")
    made.add_argument(
        "--inputs", type=int, help=f"of all targets together (default: {INPUTS:,}; --quick {QUICK_INPUTS:,})"
    )
    made.add_argument("--seconds", type=float, help="end after this time, shared evenly by the targets (default: none)")
    made.add_argument("--seed", type=int, default=0, help="from which all inputs follow (default: 0)")
    made.add_argument("--first", type=int, default=0, metavar="NUMBER", help="number of the first input (default: 0)")
    made.add_argument("--target", action="append", metavar="NAME", help=f"one of {', '.join(TARGETS)}; may be repeated")
    made.add_argument("--corpus", type=Path, default=CORPUS, metavar="FOLDER", help="past findings, a folder a target")
    return made


def main(arguments: list[str]) -> int:
    """Fuzz; returns 1 where anything was found."""
    asked = parser().parse_args(arguments)
    names = asked.target or list(TARGETS)
    for name in names:
        try:
            load(name)
        except KeyError:
            sys.exit(f"there is no target {name}; there are {', '.join(TARGETS)}")
    inputs = asked.inputs or (QUICK_INPUTS if asked.quick else INPUTS)
    rows = list(_run(asked, shares(names, inputs)))
    settings = {"seed": asked.seed, "inputs": inputs, "most_bytes": MAX_BYTES, "corpus": asked.corpus.name}
    # A run of some targets only is no result of all.
    if not asked.target or asked.out:
        sys.stdout.write(f"{results.write('fuzz', settings, rows, workplace.folder(asked))}\n")
    return 1 if any(row["findings"] for row in rows) else 0


def _run(asked: argparse.Namespace, inputs: dict[str, int]) -> Iterator[Row]:
    # Imported here: a bar needs tqdm, which fuzzing in a test does not.
    from tqdm import tqdm  # noqa: PLC0415

    from training.progress import is_terminal, refresh_s  # noqa: PLC0415

    with tqdm(total=sum(inputs.values()), unit="input", mininterval=refresh_s(), dynamic_ncols=is_terminal()) as bar:
        for name, count in inputs.items():
            bar.set_description(name)
            began_s = time.monotonic()
            until_s = began_s + (asked.seconds / len(inputs) if asked.seconds else float("inf"))
            past = 0 if asked.first else len(corpus_of(name, asked.corpus))
            reading = Reading()
            done = bar.n
            for reading in fuzz(
                name, asked.seed, range(asked.first - past, asked.first + count), asked.corpus, until_s
            ):
                bar.update(done + min(reading.inputs, count) - bar.n)
            row = row_of(name, reading, time.monotonic() - began_s)
            bar.write(
                f"{name:10} {row['inputs']:>9,} inputs {row['read']:>9,} read {row['findings']:>3} findings, "
                f"{row['seconds']} s, at most {row['peak_mib']} MiB and {row['longest_ms']} ms"
            )
            for finding in reading.findings:
                bar.write(f"  {finding.kind}: {finding.words[:MOST_WORDS]}")
                bar.write(f"  {keep(finding, FINDINGS, asked.corpus)}")
            yield row
