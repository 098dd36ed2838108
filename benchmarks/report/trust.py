"""Tables of what was tried to break the service: fuzz, soak, faults, overload; all of them beside what is asked."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from benchmarks.report.figures import MISSING, figure, number, where
from benchmarks.results import chosen, numbers, read

Lines = Iterator[str]

# name of the results: words.
SOAKS: Final = {"soak": "one process", "soak-2-workers": "two API processes", "soak-control": "the leaky control"}
OVERLOAD: Final = 3.0  # times the capacity
LEAST_GOODPUT: Final = 0.9
LONGEST_RECOVERY_S: Final = 2.0
LEAST_INPUTS: Final = 1_000_000


def fuzzed(folder: Path) -> Lines:
    """Inputs of each target, and what was found."""
    found = read("fuzz", folder)
    yield "| target | inputs | read | refused | findings | peak MiB, of at most | longest ms | s |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for row in found.rows:
        counts = [f"{number(row, key):,.0f}" for key in ("inputs", "read", "refused", "findings")]
        limits = f"{row['peak_mib']}, {row['limit_mib']}", row["longest_ms"], row["seconds"]
        yield f"| `{row['target']}` | {' | '.join(counts)} | {' | '.join(map(str, limits))} |"
    if found.rows:
        total = sum(number(row, "inputs") for row in found.rows)
        yield ""
        yield f"{total:,.0f} inputs from seed {found.settings['seed']}, {where(found)}."


def soaked(folder: Path) -> Lines:
    """What callers saw, and what grew, in each soak and in the leaky control."""
    heads = "minutes", "answers", "wrong, 5xx, lost", "reloads", "left early", "RSS MiB, first to last", "per 10 min"
    yield f"| service | {' | '.join(heads)} | grows |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |"
    for name, words in SOAKS.items():
        found = read(name, folder)
        if not found.rows:
            continue
        (answers,) = chosen(found.rows, row="answers")
        grown = list(chosen(found.rows, row="growth"))
        memory = [row for row in grown if str(row["quantity"]).startswith("rss")]
        first, last = (sum(number(row, key) for row in memory) for key in ("first", "last"))
        faults = ", ".join(str(answers[key]) for key in ("wrong", "5xx", "lost"))
        cells = [
            f"{number(answers, 'seconds') / 60:.1f}", f"{number(answers, 'asked'):,.0f}", faults,
            f"{number(answers, 'reloads'):,.0f}", f"{number(answers, 'left by callers'):,.0f}",
            f"{first:.1f} to {last:.1f}", f"{max(number(row, 'slope_10_min') for row in memory):+.2f}",
            ", ".join(str(row["quantity"]) for row in grown if row["grows"]) or "nothing",
        ]  # fmt: skip
        yield f"| {words} | {' | '.join(cells)} |"


def faults(folder: Path) -> Lines:
    """What each injected fault cost."""
    found = read("chaos", folder)
    yield "| fault | lost | callers of another package: asked, wrong, refused, lost | healthy after, s | held |"
    yield "| --- | --- | ---: | ---: | --- |"
    for row in found.rows:
        others = ", ".join(
            str(row.get(key, MISSING)) for key in ("others", "others_wrong", "others_refused", "others_lost")
        )
        held = "yes" if row["problem"] is None else f"**no**: {row['problem']}"
        yield f"| {row['words']} | {row['lost'] or MISSING} | {others} | {row.get('healthy_s', MISSING)} | {held} |"
    if found.rows:
        yield ""
        yield f"{where(found)}."


def trust(folder: Path) -> Lines:
    """Every trial beside what is asked of it."""
    yield "| tried | asked | seen | held |"
    yield "| --- | --- | --- | --- |"
    for seen in (_soaks(folder), _overload(folder), _fuzz(folder), _chaos(folder)):
        for tried, asked, words, held in seen:
            yield f"| {tried} | {asked} | {words} | {'yes' if held else '**no**'} |"


Line = tuple[str, str, str, bool]


def _soaks(folder: Path) -> Iterator[Line]:
    for name, words in SOAKS.items():
        found = read(name, folder)
        if not found.rows:
            continue
        (answers,) = chosen(found.rows, row="answers")
        grown = list(chosen(found.rows, row="growth"))
        grows = ", ".join(str(row["quantity"]) for row in grown if row["grows"])
        minutes = f"{number(answers, 'seconds') / 60:.0f} minutes of mixed load, {words}"
        faults = sum(number(answers, key) for key in ("wrong", "5xx", "lost"))
        memory = max(number(row, "slope_10_min") for row in grown if str(row["quantity"]).startswith("rss"))
        counted = (
            f"{number(answers, 'asked'):,.0f} answers, {faults:.0f} wrong, 5xx or lost; "
            f"{memory:+.2f} MiB in ten minutes; grows: {grows or 'nothing'}"
        )
        if found.settings["leak"]:
            yield minutes, "the same check fails", counted, bool(grows)
        else:
            asked = "no wrong answer, no 5xx; under 1 MiB in ten minutes; no more files, threads, series"
            yield minutes, asked, counted, bool(answers["passes"])


def _overload(folder: Path) -> Iterator[Line]:
    found = read("overload", folder)
    for name in dict.fromkeys(str(row["server"]) for row in found.rows if "recovery_s" in row):
        rows = list(chosen(found.rows, server=name, load=OVERLOAD))
        shares = [number(row, "goodput_samples_per_s") / number(row, "capacity_samples_per_s") for row in rows]
        late, recovery = numbers(rows, "answered_p99_s"), numbers(rows, "recovery_s")
        deadline_s = float(str(found.settings["deadline_ms"])) / 1000
        yield (
            f"{OVERLOAD:g} times the capacity, open loop, {name}",
            f"goodput at least {LEAST_GOODPUT:.0%} of the capacity; p99 of what is answered within the deadline of "
            f"{deadline_s:g} s; as before within {LONGEST_RECOVERY_S:g} s",
            f"goodput {figure([100 * share for share in shares])} %; p99 {figure(late, 2)} s; "
            f"as before after {figure(recovery, 2)} s",
            min(shares) >= LEAST_GOODPUT and max(late) <= deadline_s and max(recovery) <= LONGEST_RECOVERY_S,
        )


def _fuzz(folder: Path) -> Iterator[Line]:
    found = read("fuzz", folder)
    if found.rows:
        inputs, findings = (sum(number(row, key) for row in found.rows) for key in ("inputs", "findings"))
        yield (
            f"fuzzed inputs to {len(found.rows)} readers",
            f"{LEAST_INPUTS:,} inputs: no crash, hang, 5xx or memory above the limit",
            f"{inputs:,.0f} inputs, {findings:.0f} findings",
            inputs >= LEAST_INPUTS and not findings,
        )


def _chaos(folder: Path) -> Iterator[Line]:
    rows = read("chaos", folder).rows
    if rows:
        wrong = sum(number(row, "others_wrong") for row in rows if "others_wrong" in row)
        held = sum(row["problem"] is None for row in rows)
        slowest = max(number(row, "healthy_s") for row in rows if row.get("healthy_s") is not None)
        yield (
            f"{len(rows)} faults under load",
            "nothing is lost but what the fault concerns; no wrong answer",
            f"{held} as asked, {wrong:.0f} wrong answers; healthy after {slowest:.1f} s at most",
            held == len(rows) and not wrong,
        )


TRUST: Final[Mapping[str, Callable[[Path], Lines]]] = {
    "fuzzed": fuzzed,
    "soaked": soaked,
    "faults": faults,
    "trust": trust,
}
