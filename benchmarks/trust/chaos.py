"""Faults that are injected into a real service: what was lost by each, and how soon it was healthy again.

    victim and another package ─▶ both answer ─▶ the fault, beside callers of the other ─▶ both answer their bytes again

What must survive is asserted for each fault (`faults.py`); nothing but what is concerned may be lost. A fault that ends
the service counts as healthy when a new one answers. One machine's seconds, starts among them.
"""

import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from benchmarks import results, workplace
from benchmarks.results import Row
from benchmarks.trust.faults import FAULTS, Fault, NotHeld, bystanders, healthy, scene
from training.command_line import Parser

QUICK: Final = ("raises", "removed")


def measure(name: str, fault: Fault, folder: Path) -> Row:
    """Inject one fault.

    Args:
        folder: empty.

    Returns:
        What was lost, how many requests of callers of the other package were asked, wrong, refused (5xx) and lost, the
        seconds until healthy, and what did not survive (None where all did).
    """
    row: Row = {"fault": name, "words": fault.words, "lost": None, "problem": None}
    try:
        with scene(folder, fault) as at, bystanders(at) as tally:
            began_s = time.monotonic()
            row["lost"] = fault.inject(at)
            if not fault.ends:
                healthy(at)
                row["healthy_s"] = round(time.monotonic() - began_s, 2)
        if fault.ends:
            known = at.known
            with scene(folder, fault) as again:
                again.known = known
                healthy(again)
                row["healthy_s"] = round(time.monotonic() - began_s, 2)
        row |= {
            "others": tally.asked.total(), "others_wrong": tally.faults["wrong"] - tally.faults["5xx"],
            "others_refused": tally.faults["5xx"], "others_lost": tally.faults["lost"],
        }  # fmt: skip
        faults = tally.faults["wrong"] if not fault.spares else tally.faults.total()
        if faults and not fault.ends:
            row["problem"] = f"callers of the other package: {tally.words[0]}"
    except (NotHeld, AssertionError) as error:
        row["problem"] = str(error)[:500]
    return row


def inject_all(chosen: Mapping[str, Fault]) -> Iterator[Row]:
    """Inject faults one after the other, each into a service of its own."""
    for name, fault in chosen.items():
        with TemporaryDirectory() as folder:
            row = measure(name, fault, Path(folder))
        sys.stdout.write(f"{fault.words}: {row['problem'] or row['lost']}; healthy after {row.get('healthy_s')} s\n")
        yield row


def parser() -> Parser:
    """Make the argument parser."""
    made = workplace.parser("chaos", __doc__, "--only engine")
    made.add_argument("--only", action="append", metavar="NAME", choices=FAULTS, help=f"one of {', '.join(FAULTS)}")
    return made


def main(arguments: list[str]) -> int:
    """Inject the faults; returns 1 where something did not survive."""
    asked = parser().parse_args(arguments)
    names = asked.only or (QUICK if asked.quick else list(FAULTS))
    rows = workplace.measured(inject_all({name: FAULTS[name] for name in names}), "chaos", len(names))
    if not asked.only or asked.out:
        sys.stdout.write(f"{results.write('chaos', {'faults': list(names)}, rows, workplace.folder(asked))}\n")
    return 1 if any(row["problem"] for row in rows) else 0
