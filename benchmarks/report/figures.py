"""Formats figures of an experiment for tables and targets.

A figure is the median of its rounds, followed by the minimum and maximum. † marks figures with foreign load, which are
reliable to one digit only. A dash means not measured.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.experiments import overhead
from benchmarks.load.cells import share_of_ceiling
from benchmarks.results import Found, Row, Value, chosen, numbers, spread

NOISY: Final = "†"
MISSING: Final = "—"
MILLI: Final = 1e-3
MEBIBYTE: Final = 1024 * 1024
CEILING: Final = "ceiling onnxruntime"

At = Mapping[str, Value]


def figure(values: Sequence[float], digits: int = 0, *, noisy: bool = False) -> str:
    """Measurements of one quantity as text."""
    if not values:
        return MISSING
    found = spread(values)
    text = f"{found.median:,.{digits}f}"
    if len(values) > 1:
        text += f" ({found.least:,.{digits}f}–{found.most:,.{digits}f})"
    return text + (NOISY if noisy else "")


def of(rows: Sequence[Row], key: str, at: At, unit: float = 1, digits: int = 0) -> str:
    """One field of the rows whose other fields have these values, in a unit, as text."""
    noisy = any(row.get("quiet") is False for row in chosen(rows, **at))
    return figure([value / unit for value in numbers(rows, key, **at)], digits, noisy=noisy)


def median(rows: Sequence[Row], key: str, at: At) -> float | None:
    """The median of a field over the rounds; None where it was not measured."""
    values = numbers(rows, key, **at)
    return spread(values).median if values else None


def shares(found: Found, network: str, contender: str, load: At) -> list[float]:
    """For each round, the share of ONNX Runtime's ceiling that a contender reached with the cores left to it."""
    reached = []
    for row in chosen(found.rows, network=network, contender=contender, **load):
        ceilings = list(chosen(found.rows, network=network, contender=CEILING, round=row["round"]))
        top = max(ceilings, key=lambda each: number(each, "samples_per_s"))
        taken = number(row, "generator_cores") + number(row, "foreign_cores")
        rates = number(row, "samples_per_s"), taken, number(top, "samples_per_s"), number(top, "foreign_cores")
        reached.append(share_of_ceiling(*rates, found.cores))
    return reached


def contenders(rows: Sequence[Row], **wanted: Value) -> list[str]:
    """Names of the measured servers, ours first."""
    names = dict.fromkeys(str(row["contender"]) for row in chosen(rows, **wanted))
    return sorted(
        (name for name in names if not name.startswith(("ceiling", "bare"))),
        key=lambda name: ("ganymede" not in name, name),
    )


def overheads(rows: Sequence[Row], network: str) -> tuple[list[float], list[float]]:
    """For each round, processor microseconds of a request and of a sample beyond the run."""
    turns = dict.fromkeys(row["round"] for row in chosen(rows, network=network))
    pairs = []
    for turn in turns:
        at: dict[str, Value] = {"network": network, "round": turn, "answer": "npy"}
        small = numbers(rows, "cpu_us_per_request", n=1, connections=overhead.MANY, **at)
        large = numbers(rows, "cpu_us_per_request", n=overhead.LARGE_N, **at)
        bare = numbers(rows, "cpu_us_per_sample", network=network, round=turn, what="bare")
        pairs += [overhead.split(*three) for three in zip(small, large, bare, strict=True)]
    return [request for request, _ in pairs], [sample for _, sample in pairs]


def png_shares(rows: Sequence[Row], network: str) -> list[float]:
    """For each round, the encoder's share of a PNG request's processor time, by comparison with NPY."""
    at: dict[str, Value] = {"network": network, "n": 1, "connections": overhead.MANY}
    png, npy = (numbers(rows, "cpu_us_per_request", answer=answer, **at) for answer in ("png", "npy"))
    return [1 - plain / image for image, plain in zip(png, npy, strict=True)]


def percent(values: Sequence[float]) -> str:
    """Shares as text."""
    text = figure([100 * value for value in values])
    return text if text == MISSING else f"{text} %"


def number(row: Row, key: str) -> float:
    """A field that is a number."""
    value = row[key]
    return float(value) if isinstance(value, int | float) else 0.0


def where(found: Found) -> str:
    """Machine and commit of a result, in a line."""
    facts = found.machine
    return (
        f"{facts['processor']}, {facts['cores']} cores, Python {facts['python']}, "
        f"commit {str(facts['commit'])[:12]}, {facts['measured']}"
    )
