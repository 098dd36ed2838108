"""What the samples of one request are drawn from: seeds, given latents, or a path between two seeds.

A request names one of them, and how many samples there are follows from it. It stands alone because every rule here is
about that choice and none about classes, codes or the form of the answer. Pure but for one thing: a seed that the
caller left out is drawn here, once, and is from then on as good as given.

Shapes: N samples, Z latent coordinates.
"""

import secrets
from dataclasses import replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.engine import sampler
from service.engine.graphs import Prior
from service.engine.job_checks import check_curve
from service.engine.port import Path, SamplerName
from service.errors import InvalidRequest, Problem
from service.media.negotiation import Media
from service.packages.schema import Latent
from service.routes.sampling_schemas import Interpolate
from service.routes.schemas import GenerateRequest
from service.routes.seed_ranges import MAX_SEED, read_ranges
from service.settings import Settings

# Above this a JavaScript number is no longer an exact integer, and a browser would replay another sample.
BROWSER_SEEDS: Final = 2**53
STREAMED_FORMS: Final = frozenset({"npy", "zip"})
WAYS: Final = ("latents", "seeds", "interpolate")


class Origin(NamedTuple):
    """What N samples are drawn from: one of three.

    Attributes:
        sampler: how seeds become latents.
        seeds: uint64 [N], given or drawn.
        latents: float32 [N, Z], given.
        path: between two seeds, with N positions.
    """

    sampler: SamplerName
    seeds: NDArray[np.uint64] | None = None
    latents: NDArray[np.float32] | None = None
    path: Path | None = None

    def part(self, place: slice) -> "Origin":
        """Answer what some of the samples are drawn from."""
        return Origin(
            seeds=None if self.seeds is None else self.seeds[place],
            latents=None if self.latents is None else self.latents[place],
            path=None if self.path is None else replace(self.path, positions=self.path.positions[place]),
            sampler=self.sampler,
        )


def count_samples(wanted: GenerateRequest, media: Media, settings: Settings) -> int:
    """Answer how many samples a request is for: N.

    Raises:
        InvalidRequest: it names more than one origin, its seeds are not written as ranges are, or N is over the limit.
    """
    ways = [way for way in WAYS if getattr(wanted, way) is not None]
    if ways:
        _check_lone(ways, wanted)
    streamed = media.name in STREAMED_FORMS and wanted.latents is None
    limit = settings.max_streamed_samples if streamed else settings.max_samples
    place, count = _count(wanted, limit)
    if count > limit:
        hint = "" if streamed else f"; NPY and ZIP answers take up to {settings.max_streamed_samples} seeds"
        raise InvalidRequest(
            Problem(("body", *place), f"at most {limit} samples in one {media.media_type} answer{hint}")
        )
    return count


def _check_lone(ways: list[str], wanted: GenerateRequest) -> None:
    given = wanted.model_fields_set
    excluded = ways[1:] + [field for field in ("seed", "n") if field in given and getattr(wanted, field) is not None]
    if excluded:
        raise InvalidRequest(*(Problem(("body", field), f"`{ways[0]}` excludes `{field}`") for field in excluded))


def _count(wanted: GenerateRequest, limit: int) -> tuple[tuple[str, ...], int]:
    """The field that says how many samples there are, and how many; beyond the limit perhaps fewer than there are."""
    match wanted:
        case GenerateRequest(latents=list(latents)):
            return ("latents",), len(latents)
        case GenerateRequest(seeds=list(seeds)):
            return ("seeds",), len(seeds)
        case GenerateRequest(seeds=str(text)):
            if (ranges := text.count(",") + 1) > limit:  # each is one seed or more; reading millions takes seconds
                return ("seeds",), ranges
            try:
                return ("seeds",), read_ranges(text).count
            except ValueError as error:
                raise InvalidRequest(Problem(("body", "seeds"), str(error))) from error
        case GenerateRequest(interpolate=Interpolate(steps=steps)):
            return ("interpolate", "steps"), steps
        case _:
            return ("n",), wanted.n


def read_origin(wanted: GenerateRequest, latent: Latent, count: int) -> Origin:
    """Read what the samples are drawn from.

    Args:
        wanted: the request.
        latent: of the package.
        count: N, as `count_samples` answered.

    Raises:
        InvalidRequest: the package's latents cannot be drawn or given so; every place is named.
    """
    if wanted.latents is not None:
        return Origin(latents=_latents(wanted.latents, latent.size), sampler=wanted.sampler)
    if wanted.interpolate is not None:
        path = _path(wanted.interpolate, latent.prior)
        _check_sampler(np.array([path.first, path.last], np.uint64), latent.prior, wanted.sampler)
        return Origin(path=path, sampler=wanted.sampler)
    seeds = _seeds(wanted, count)
    _check_sampler(seeds, latent.prior, wanted.sampler)
    return Origin(seeds=seeds, sampler=wanted.sampler)


def _latents(given: list[list[float]], size: int) -> NDArray[np.float32]:
    for index, row in enumerate(given):
        if len(row) != size:
            words = f"a latent of this package has {size} numbers, not {len(row)}"
            raise InvalidRequest(Problem(("body", "latents", index), words))
    return np.array(given, dtype=np.float32)


def _path(asked: Interpolate, prior: Prior) -> Path:
    try:
        check_curve(asked.path, prior)
    except InvalidRequest as error:
        raise InvalidRequest(Problem(("body", "interpolate", "path"), str(error))) from error
    positions = np.arange(asked.steps) / (asked.steps - 1)
    return Path(first=asked.from_, last=asked.to, positions=positions, curve=asked.path)


def _seeds(wanted: GenerateRequest, count: int) -> NDArray[np.uint64]:
    if isinstance(wanted.seeds, str):
        return read_ranges(wanted.seeds).expand()
    if wanted.seeds is not None:
        return np.array(wanted.seeds, dtype=np.uint64)
    first = _drawn_seed(wanted.sampler, count) if wanted.seed is None else wanted.seed
    if first + count - 1 > MAX_SEED:
        raise InvalidRequest(Problem(("body", "seed"), f"`seed` + {count - 1} would pass {MAX_SEED}"))
    return np.arange(first, first + count, dtype=np.uint64)


def _drawn_seed(name: SamplerName, count: int) -> int:
    above = BROWSER_SEEDS if name == "philox-1" else sampler.LARGEST_LEGACY_SEED + 1
    return secrets.randbelow(above - count + 1)


def _check_sampler(seeds: NDArray[np.uint64], prior: Prior, name: SamplerName) -> None:
    try:
        sampler.check_seeds(seeds, prior, name)
    except InvalidRequest as error:
        raise InvalidRequest(Problem(("body", "sampler"), str(error))) from error
