"""What one /generate request comes to: a body held against the package that answers it and the form of the answer.

Here every rule is judged that needs more than the body: how many samples the form allows, whether the package has
classes, codes, a condition, a discriminator, a latent of this size. What the samples are drawn from is read in
`origins.py`, which drawings of a seed count in `redraws.py`. Everything is judged before the engine hears of the
request, so a request is refused whole or accepted whole.

Shapes: N samples, Z latent coordinates, Q codes.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from service.api.limits import MAX_SEED, check_size
from service.api.requests.fields import read_codes, read_conditions, read_labels, read_ranges
from service.api.sample_types import DtypeName, Images, Kind, sample_bytes
from service.api.schemas.requests import GenerateRequest, Interpolate, Rejection
from service.engine.core.validation import check_curve
from service.engine.interface import GenerateJob, Path, SamplerName, Selection
from service.engine.model_spec import Prior
from service.engine.sampling import sampler
from service.engine.sampling.sampler import check_redraws
from service.errors import InvalidRequest, Problem
from service.media.negotiation import Media
from service.packages.registry import ServedPackage
from service.packages.schema import Latent
from service.settings import MEBIBYTE, Settings

# Above this a JavaScript number is no longer an exact integer, and a browser would replay another sample.
BROWSER_SEEDS: Final = 2**53
STREAMED_FORMS: Final = frozenset({"npy", "zip"})
WAYS: Final = ("latents", "seeds", "interpolate")


class LatentSource(NamedTuple):
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

    def part(self, place: slice) -> "LatentSource":
        """Answer what some of the samples are drawn from."""
        return LatentSource(
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


def read_source(wanted: GenerateRequest, latent: Latent, count: int) -> LatentSource:
    """Read what the samples are drawn from.

    Args:
        wanted: the request.
        latent: of the package.
        count: N, as `count_samples` answered.

    Raises:
        InvalidRequest: the package's latents cannot be drawn or given so; every place is named.
    """
    if wanted.latents is not None:
        return LatentSource(latents=_latents(wanted.latents, latent.size), sampler=wanted.sampler)
    if wanted.interpolate is not None:
        path = _path(wanted.interpolate, latent.prior)
        _check_sampler(np.array([path.first, path.last], np.uint64), latent.prior, wanted.sampler)
        return LatentSource(path=path, sampler=wanted.sampler)
    seeds = _seeds(wanted, count)
    _check_sampler(seeds, latent.prior, wanted.sampler)
    return LatentSource(seeds=seeds, sampler=wanted.sampler)


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


TRUNCATION = ("body", "truncation")
SELECT = ("body", "select")


def read_truncation(wanted: GenerateRequest, prior: Prior) -> float | None:
    """Read how far from 0 a latent coordinate may be; None where it may be anywhere.

    Raises:
        InvalidRequest: the latents are given, or cannot be drawn again.
    """
    if wanted.truncation is not None and wanted.latents is not None:
        raise InvalidRequest(Problem(TRUNCATION, "given latents are as they are; only a seed has other drawings"))
    try:
        check_redraws(prior, wanted.sampler, wanted.truncation, has_candidates=False)
    except InvalidRequest as error:
        raise InvalidRequest(Problem(TRUNCATION, str(error))) from error
    return wanted.truncation


def read_selection(wanted: GenerateRequest, package: ServedPackage, count: int, settings: Settings) -> Selection | None:
    """Read how the discriminator chooses among N samples' candidates; None where it is not asked to.

    Raises:
        InvalidRequest: nothing can choose, there is nothing to choose from, or there is too much of it.
    """
    asked = wanted.select
    if asked is None:
        return None
    if package.calibration is None:
        raise InvalidRequest(Problem(SELECT, "this package has no discriminator to choose"))
    if wanted.latents is not None or wanted.interpolate is not None:
        raise InvalidRequest(Problem(SELECT, "only seeds have candidates; given latents and paths are as they are"))
    try:
        check_redraws(package.manifest.latent.prior, wanted.sampler, None, has_candidates=True)
    except InvalidRequest as error:
        raise InvalidRequest(Problem(SELECT, str(error))) from error
    candidates = count * asked.candidates
    if candidates > settings.max_streamed_samples:
        words = f"at most {settings.max_streamed_samples} candidates in one request; {count} samples have {candidates}"
        raise InvalidRequest(Problem((*SELECT, "candidates"), words))
    gamma = asked.gamma if isinstance(asked, Rejection) else 0.0
    return Selection(method=asked.method, candidates=asked.candidates, gamma=gamma)


SCORED_FORMS: Final = frozenset({"json", "zip"})
# A stream holds two chunks at a time, one on its way and one being computed.
MAX_CHUNK_SAMPLES: Final = 1_024
MAX_CHUNK_BYTES: Final = 8 * MEBIBYTE


@dataclass(slots=True, kw_only=True)  # every request makes one, and frozen ones take four times as long to make
class GeneratePlan:
    """Samples to draw, with nothing left to decide or to change.

    Attributes:
        package: which package draws them.
        kind: of its samples.
        count: N.
        origin: what they are drawn from.
        labels: int64 [N]; None where the engine draws them or the package has none.
        codes: float64 [N, Q], NaN where the engine draws one; None where it draws all or the package has none.
        conditions: int64 [N]; None where the package has none.
        truncation: of latents that are drawn.
        selection: how the discriminator chooses each sample among its seed's candidates.
        raw_values: whether the answer is the generator's own values rather than pixels.
        scores: whether each sample's realness is asked for.
    """

    package: ServedPackage
    kind: Kind
    count: int
    origin: LatentSource
    labels: NDArray[np.int64] | None
    codes: NDArray[np.float64] | None
    conditions: NDArray[np.int64] | None
    truncation: float | None
    selection: Selection | None
    raw_values: bool
    scores: bool

    @property
    def seeds(self) -> NDArray[np.uint64] | None:
        """Seeds, one a sample, where samples are drawn from them."""
        return self.origin.seeds

    @property
    def sampler(self) -> SamplerName | None:
        """How seeds became latents, where they did."""
        return None if self.origin.latents is not None else self.origin.sampler

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as the engine answers it."""
        return sample_bytes(self.kind, raw_values=self.raw_values)

    @property
    def chunk_samples(self) -> int:
        """How many samples a stream asks for at a time; candidates count, so that a chunk takes no longer for them."""
        candidates = 1 if self.selection is None else self.selection.candidates
        return max(1, min(MAX_CHUNK_SAMPLES // candidates, MAX_CHUNK_BYTES // self.sample_bytes))

    def jobs(self, chunk_samples: int) -> Iterator[GenerateJob]:
        """Cut the drawing into jobs of at most `chunk_samples`, in order."""
        for start in range(0, self.count, chunk_samples):
            part = slice(start, start + chunk_samples)
            yield self._job(self.origin.part(part), part, None)

    def job(self, timeout_s: float) -> GenerateJob:
        """Answer the drawing as one job.

        Args:
            timeout_s: that is left for it.
        """
        return self._job(self.origin, slice(None), timeout_s)

    def _job(self, origin: LatentSource, part: slice, timeout_s: float | None) -> GenerateJob:
        return GenerateJob(
            package=self.package.key,
            seeds=origin.seeds,
            latents=origin.latents,
            path=origin.path,
            labels=None if self.labels is None else self.labels[part],
            codes=None if self.codes is None else self.codes[part],
            conditions=None if self.conditions is None else self.conditions[part],
            sampler=origin.sampler,
            truncation=self.truncation,
            selection=self.selection,
            want_pixels=not self.raw_values,
            want_sample=self.raw_values,
            want_logits=self.scores,
            timeout_s=timeout_s,
        )


def plan_generate(
    wanted: GenerateRequest,
    package: ServedPackage,
    kind: Kind,
    media: Media,
    dtype: DtypeName | None,
    settings: Settings,
    place: str = "body",
) -> GeneratePlan:
    """Hold a request against its package, whose samples are of some kind, and its form; `place` as `read_labels`.

    Raises:
        InvalidRequest: it asks for what the package or the form does not have; every place is named.
    """
    manifest = package.manifest
    count = count_samples(wanted, media, settings)
    check_dtype(dtype, kind, media)
    _check_scores(wanted, package, media)
    names = () if manifest.labels is None else manifest.labels.names
    labels = read_labels(wanted.label, wanted.labels, names=names, count=count, place=place)
    codes = read_codes(wanted.codes, manifest.codes, count=count)
    if wanted.latents is not None:
        _check_drawn(package, labels, codes)
    drawing = GeneratePlan(
        package=package,
        kind=kind,
        count=count,
        origin=read_source(wanted, manifest.latent, count),
        labels=labels,
        codes=codes,
        conditions=read_conditions(wanted.condition, manifest.condition, count=count),
        truncation=read_truncation(wanted, manifest.latent.prior),
        selection=read_selection(wanted, package, count, settings),
        raw_values=dtype == "float32" or not isinstance(kind, Images),
        scores=wanted.scores,
    )
    if media.name not in STREAMED_FORMS:
        hint = "NPY and ZIP answers are streamed and may be larger"
        check_size(kind, count, drawing.sample_bytes, media, ("body", "n"), hint)
    return drawing


def check_dtype(dtype: DtypeName | None, kind: Kind, media: Media) -> None:
    """Refuse an element type that an answer has not.

    Raises:
        InvalidRequest: it is no array, or never of this type.
    """
    if dtype is not None and media.name != "npy":
        raise InvalidRequest(Problem(("query", "dtype"), "only an NPY answer has an element type"))
    if dtype is not None and dtype not in kind.dtypes:
        _, own = kind.row(raw_values=True)
        raise InvalidRequest(Problem(("query", "dtype"), f"this package makes {kind.words}; arrays of them are {own}"))


def _check_scores(wanted: GenerateRequest, package: ServedPackage, media: Media) -> None:
    if wanted.scores and package.calibration is None:
        raise InvalidRequest(Problem(("body", "scores"), "this package has no discriminator"))
    if wanted.scores and media.name not in SCORED_FORMS:
        raise InvalidRequest(Problem(("body", "scores"), "only JSON and ZIP answers have a place for scores"))


def _check_drawn(package: ServedPackage, labels: NDArray[np.int64] | None, codes: NDArray[np.float64] | None) -> None:
    """Refuse given latents that leave something out, for which there is no seed."""
    manifest = package.manifest
    if manifest.labels is not None and labels is None:
        raise InvalidRequest(Problem(("body", "labels"), "this package has classes, and given latents draw none"))
    if manifest.codes is not None and (codes is None or np.isnan(codes).any()):
        words = f"given latents draw no codes; name all of them: {', '.join(manifest.codes.names)}"
        raise InvalidRequest(Problem(("body", "codes"), words))
