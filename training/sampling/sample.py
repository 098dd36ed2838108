"""Draws samples for seeds: reads what was asked for, fills in what was not from the seeds, and computes them.

    seeds ──▶ latents, and labels and codes that are not given ──▶ generator ──▶ Drawn

Shapes: N samples, Q codes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.errors import TrainingError
from training.export.graphs.interface import CODE, CONDITION, LABEL, LATENT
from training.export.graphs.pair import Say
from training.export.graphs.runtime import Arrays
from training.sampling import seeds as sampler
from training.sampling.seeds import LARGEST_SEED, LEAST_TRUNCATION, CodeLayout
from training.sampling.source import Kind, Samples, Source, find
from training.state.checkpoint import Choice
from training.tables import nearest

MOST_SAMPLES: Final = 50_000  # as many as a service answers at once


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for.

    Attributes:
        place: folder of a run, or of a package's version.
        seeds: such as `0-63` or `7,9,20-29`.
        label: a class by number or name, or as many as there are seeds, with commas; None draws them from the seeds.
        codes: `NAME=VALUE` each; those left out are drawn from the seeds.
        condition: the id that items are drawn for.
        truncation: t; None does not truncate.
        checkpoint: of a run.
        data_path: the data's path, if it has moved.
    """

    place: Path
    seeds: str
    label: str | None = None
    codes: Sequence[str] = ()
    condition: int | None = None
    truncation: float | None = None
    checkpoint: Choice = "newest"
    data_path: str | None = None


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Samples, and what they were drawn from.

    Attributes:
        title: what drew them.
        facts: the same, for programs.
        seeds: [N].
        inputs: the generator's, [N, ...] by role.
        samples: as the service sends them: images uint8 [N, H, W, C], vectors float32 [N, D], items int64 [N].
        condition_name: what items are drawn for.
        codes: value of each code, [N] by name.
        real: real vectors for the frame of a plot; None where there are none.
    """

    title: str
    facts: dict[str, object]
    kind: Kind
    seeds: list[int]
    inputs: Arrays
    samples: Samples
    condition_name: str
    codes: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    real: Samples | None = None


def draw(request: Request, say: Say, check: Callable[[Kind], None]) -> Drawn:
    """Draw what is asked for.

    Args:
        check: called with the kind of the samples before they are computed; raises if they are not wanted.

    Raises:
        TrainingError: if there is no such run or package, or it takes no such inputs.
    """
    seeds = read_seeds(request.seeds)
    source = find(request.place, request.checkpoint, request.data_path, say)
    check(source.kind)
    _check_truncation(source, request.truncation)
    inputs: Arrays = {LATENT: sampler.latents(seeds, source.latent_size, source.prior, request.truncation)}
    if (labels := _labels(source, seeds, request.label)) is not None:
        inputs[LABEL] = labels
    if (conditions := _conditions(source, len(seeds), request.condition)) is not None:
        inputs[CONDITION] = conditions
    codes: dict[str, NDArray[np.float64]] = {}
    if (values := _codes(source, seeds, request.codes)) is not None and source.codes is not None:
        inputs[CODE] = sampler.code_tensor(values, source.codes)
        codes = dict(zip(source.codes.names, values.T, strict=True))
    return Drawn(
        title=source.title,
        facts=dict(source.facts),
        kind=source.kind,
        seeds=seeds,
        inputs=inputs,
        samples=source.compute(inputs),
        condition_name=source.condition_name,
        codes=codes,
        real=source.real() if source.kind == "vector" else None,
    )


def read_seeds(text: str) -> list[int]:
    """Read seeds such as `0-63` or `7,9,20-29`, each at most 2^63 - 1.

    Raises:
        TrainingError: if the text names none, a wrong one, or too many.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        ends = [first, last] if dash else [first]
        if not all(end.isascii() and end.isdigit() for end in ends) or max(map(int, ends)) > LARGEST_SEED:
            raise TrainingError(f'--seeds are integers from 0 to 2^63 - 1, as in "0-63" or "7,9,20-29"; not "{part}"')
        begin, end = int(first), int(ends[-1])
        if end < begin:
            raise TrainingError(f"--seeds {part} runs backwards; write {end}-{begin}")
        if len(found) + end - begin + 1 > MOST_SAMPLES:
            raise TrainingError(f"--seeds {text} are more than {MOST_SAMPLES:,}; draw them in parts")
        found += range(begin, end + 1)
    return found


def _check_truncation(source: Source, truncation: float | None) -> None:
    if truncation is None:
        return
    if not truncation >= LEAST_TRUNCATION:
        raise TrainingError(f"--truncation must be {LEAST_TRUNCATION} or more, not {truncation:g}")
    if source.prior == "gumbel":
        raise TrainingError(f"{source.title} draws items by Gumbel noise, which truncation would spoil; leave it out")


def _labels(source: Source, seeds: list[int], text: str | None) -> NDArray[np.int64] | None:
    count = source.label_count
    if not count:
        if text is not None:
            raise TrainingError(f"{source.title} is unconditional: it has no classes; leave out --label")
        return None
    if text is None:
        return sampler.labels(seeds, count)
    names = source.label_names()
    words = [text] if text in names else [word.strip() for word in text.split(",")]
    if len(words) not in (1, len(seeds)):
        raise TrainingError(f"--label names {len(words)} classes for {len(seeds)} seeds; give one, or one for each")
    chosen = []
    for word in words:
        if word in names:  # first, as the service does: a name may be a number, too
            chosen.append(names.index(word))
        elif _is_class(word, count):
            chosen.append(int(word))
        else:
            raise TrainingError(
                f'there is no class "{word}" among 0 to {count - 1}{nearest(word, names) if names else ""}'
            )
    return np.resize(np.array(chosen, np.int64), len(seeds))


def _is_class(word: str, count: int) -> bool:
    return word.isascii() and word.isdigit() and int(word) < count


def _conditions(source: Source, count: int, condition: int | None) -> NDArray[np.int64] | None:
    if not source.conditions:
        if condition is not None:
            raise TrainingError(f"{source.title} takes no id to draw for; leave out --condition")
        return None
    what = f"from 0 to {source.conditions - 1}"
    if condition is None:
        raise TrainingError(f"{source.title} draws for one {source.condition_name}; say which, {what}: --condition 0")
    if not 0 <= condition < source.conditions:
        raise TrainingError(f"there is no {source.condition_name} {condition}; they are {what}")
    return np.full(count, condition, np.int64)


def _codes(source: Source, seeds: list[int], given: Sequence[str]) -> NDArray[np.float64] | None:
    if source.codes is None:
        if given:
            raise TrainingError(f"{source.title} has no codes; leave out --codes")
        return None
    values = sampler.codes(seeds, source.codes)
    for text in (part for each in given for part in each.split(",")):
        name, _, number = (word.strip() for word in text.partition("="))
        if name not in source.codes.names:
            known = ", ".join(source.codes.names)
            raise TrainingError(f'there is no code "{name}"; this generator has {known}')
        values[:, source.codes.names.index(name)] = _code(source.codes, name, number)
    return values


def _code(layout: CodeLayout, name: str, text: str) -> float:
    """Read the value of a code."""
    sizes = dict(layout.categorical)
    low, high = (
        (0, sizes[name] - 1) if name in sizes else next(ends for each, *ends in layout.continuous if each == name)
    )
    try:
        value = float(text)
    except ValueError:
        value = np.nan
    if not low <= value <= high or (name in sizes and value != int(value)):
        what = "an integer" if name in sizes else "a number"
        raise TrainingError(f'the code {name} is {what} from {low:g} to {high:g}, not "{text}"')
    return value
