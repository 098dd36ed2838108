"""From the body of POST /generate to a plan: a validated job for the engine and what its response needs.

Shapes: N samples, Z latent coordinates, Q codes.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from service.api.limits import MAX_SEED, check_size
from service.api.requests.fields import read_codes, read_conditions, read_labels, read_ranges
from service.api.sample_types import DtypeName, Images, Kind, sample_bytes
from service.api.schemas.requests import BestOf, GenerateRequest, Interpolate, MetropolisHastings, Rejection
from service.engine.core.validation import check_generate
from service.engine.interface import GenerateJob, Path, SamplerName, Selection
from service.engine.sampling.sampler import LARGEST_LEGACY_SEED
from service.errors import InvalidRequest, Problem
from service.media.decoders import Loc
from service.media.negotiation import Media
from service.packages.registry import ServedPackage
from service.settings import MEBIBYTE, Settings

STREAMED_FORMS: Final = frozenset({"npy", "zip"})
SCORED_FORMS: Final = frozenset({"json", "zip"})
# Above this a JavaScript number is no longer an exact integer, and a browser would replay another sample.
BROWSER_SEEDS: Final = 2**53
# A stream holds two chunks at a time, one being sent and one being computed.
MAX_CHUNK_SAMPLES: Final = 1_024
MAX_CHUNK_BYTES: Final = 8 * MEBIBYTE
# A job's fields that a request has under another name.
PLACES: Final[dict[str | int, Loc]] = {
    "seeds": ("sampler",),
    "path": ("interpolate", "path"),
    "conditions": ("condition",),
    "selection": ("select",),
    "candidates": ("select",),
}

S = TypeVar("S", bound=np.generic)


@dataclass(slots=True, kw_only=True)  # every request makes one, and frozen ones take four times as long to make
class GeneratePlan:
    """A validated request for samples.

    Attributes:
        package: which package draws them.
        kind: of its samples.
        count: N.
        job: all N of them, without a deadline.
    """

    package: ServedPackage
    kind: Kind
    count: int
    job: GenerateJob

    @property
    def sampler(self) -> SamplerName | None:
        """How seeds become latents; None where the latents are given."""
        return self.job.sampler if self.job.latents is None else None

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as the engine returns it."""
        return sample_bytes(self.kind, raw_values=self.job.want_sample)

    @property
    def drawn(self) -> int:
        """How many samples are drawn at most, candidates included."""
        return self.count * (1 if self.job.selection is None else self.job.selection.candidates)

    @property
    def chunk_samples(self) -> int:
        """How many samples a stream computes at a time; candidates count, so that selection makes no chunk slower."""
        candidates = 1 if self.job.selection is None else self.job.selection.candidates
        return max(1, min(MAX_CHUNK_SAMPLES // candidates, MAX_CHUNK_BYTES // self.sample_bytes))

    def chunks(self) -> Iterator[GenerateJob]:
        """Cut the job into jobs of at most `chunk_samples`, in order."""
        size = self.chunk_samples
        for start in range(0, self.count, size):
            yield self._part(slice(start, start + size))

    def _part(self, place: slice) -> GenerateJob:
        job, path = self.job, self.job.path
        part = replace(
            job,
            seeds=_rows(job.seeds, place),
            latents=_rows(job.latents, place),
            path=None if path is None else replace(path, positions=path.positions[place]),
            labels=_rows(job.labels, place),
            codes=_rows(job.codes, place),
            conditions=_rows(job.conditions, place),
        )
        part.checked_for = job.checked_for
        return part


def _rows(column: NDArray[S] | None, place: slice) -> NDArray[S] | None:
    return None if column is None else column[place]


def plan_generate(
    wanted: GenerateRequest,
    package: ServedPackage,
    kind: Kind,
    media: Media,
    dtype: DtypeName | None,
    settings: Settings,
    place: str = "body",
) -> GeneratePlan:
    """Validate a request against its package and the form of its response, and build the plan.

    Args:
        kind: of the package's samples.
        dtype: element type that an NPY response is asked for in.
        place: where classes stand, as in `read_labels`; problems are placed in the body.

    Raises:
        InvalidRequest: the package or the form does not have what is asked for.
    """
    manifest = package.manifest
    count = _count(wanted, media, settings)
    check_dtype(dtype, kind, media)
    if wanted.scores:
        _check_scores(package, media)
    raw_values = dtype == "float32" or not isinstance(kind, Images)
    seeds = None if wanted.latents is not None or wanted.interpolate is not None else _read_seeds(wanted, count)
    names = () if manifest.labels is None else manifest.labels.names
    job = GenerateJob(
        package=package.key,
        seeds=seeds,
        latents=None if wanted.latents is None else _read_latents(wanted.latents, manifest.latent.size),
        path=None if wanted.interpolate is None else _read_path(wanted.interpolate),
        labels=read_labels(wanted.label, wanted.labels, names=names, count=count, place=place),
        codes=read_codes(wanted.codes, manifest.codes, count=count),
        conditions=read_conditions(wanted.condition, manifest.condition, count=count),
        sampler=wanted.sampler,
        truncation=wanted.truncation,
        selection=None if wanted.select is None else _read_selection(wanted.select, package, count, settings),
        want_pixels=not raw_values,
        want_sample=raw_values,
        want_logits=wanted.scores,
    )
    _check_job(job, package)
    plan = GeneratePlan(package=package, kind=kind, count=count, job=job)
    if media.name not in STREAMED_FORMS:
        hint = "NPY and ZIP answers are streamed and may be larger"
        check_size(kind, count, plan.sample_bytes, media, ("body", "n"), hint)
    return plan


def check_dtype(dtype: DtypeName | None, kind: Kind, media: Media) -> None:
    """Refuse an element type that a response does not have.

    Raises:
        InvalidRequest: it is no array, or never of this type.
    """
    if dtype is None:
        return
    if media.name != "npy":
        raise InvalidRequest(Problem(("query", "dtype"), "only an NPY answer has an element type"))
    if dtype not in kind.dtypes:
        _, own = kind.row(raw_values=True)
        raise InvalidRequest(Problem(("query", "dtype"), f"this package makes {kind.words}; arrays of them are {own}"))


def _check_job(job: GenerateJob, package: ServedPackage) -> None:
    """Have the engine's rules judge the job, and place its problems where the caller wrote what they are about."""
    try:
        check_generate(job, package.report.capabilities)
    except InvalidRequest as error:
        raise InvalidRequest(
            *(Problem(("body", *PLACES.get(each.loc[0], each.loc)), each.msg) for each in error.problems)
        ) from error


def _check_scores(package: ServedPackage, media: Media) -> None:
    if package.calibration is None:
        raise InvalidRequest(Problem(("body", "scores"), package.unscored))
    if media.name not in SCORED_FORMS:
        raise InvalidRequest(Problem(("body", "scores"), "only JSON and ZIP answers have a place for scores"))


def _count(wanted: GenerateRequest, media: Media, settings: Settings) -> int:
    """Count the samples that a request is for, N.

    Raises:
        InvalidRequest: it names more than one source, its seeds are no ranges, or N is over the limit.
    """
    if wanted.latents is not None or wanted.seeds is not None or wanted.interpolate is not None:
        _check_exclusive(wanted)
    streamed = media.name in STREAMED_FORMS and wanted.latents is None
    limit = settings.max_streamed_samples if streamed else settings.max_samples
    loc, count = _place_and_count(wanted, limit)
    if count > limit:
        hint = "" if streamed else f"; NPY and ZIP answers take up to {settings.max_streamed_samples} seeds"
        raise InvalidRequest(Problem(("body", *loc), f"at most {limit} samples in one {media.media_type} answer{hint}"))
    return count


def _check_exclusive(wanted: GenerateRequest) -> None:
    first, *excluded = [
        field
        for field in ("latents", "seeds", "interpolate", "seed", "n")
        if field in wanted.model_fields_set and getattr(wanted, field) is not None
    ]
    if excluded:
        raise InvalidRequest(*(Problem(("body", field), f"`{first}` excludes `{field}`") for field in excluded))


def _place_and_count(wanted: GenerateRequest, limit: int) -> tuple[Loc, int]:
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


def _read_seeds(wanted: GenerateRequest, count: int) -> NDArray[np.uint64]:
    if isinstance(wanted.seeds, str):
        return read_ranges(wanted.seeds).expand()
    if wanted.seeds is not None:
        return np.array(wanted.seeds, dtype=np.uint64)
    first = wanted.seed
    if first is None:
        above = BROWSER_SEEDS if wanted.sampler == "philox-1" else LARGEST_LEGACY_SEED + 1
        first = secrets.randbelow(above - count + 1)
    if first + count - 1 > MAX_SEED:
        raise InvalidRequest(Problem(("body", "seed"), f"`seed` + {count - 1} would pass {MAX_SEED}"))
    return np.arange(first, first + count, dtype=np.uint64)


def _read_latents(given: list[list[float]], size: int) -> NDArray[np.float32]:
    for index, row in enumerate(given):
        if len(row) != size:
            words = f"a latent of this package has {size} numbers, not {len(row)}"
            raise InvalidRequest(Problem(("body", "latents", index), words))
    return np.array(given, dtype=np.float32)


def _read_path(asked: Interpolate) -> Path:
    positions = np.arange(asked.steps) / (asked.steps - 1)
    return Path(first=asked.from_, last=asked.to, positions=positions, curve=asked.path)


def _read_selection(
    asked: BestOf | Rejection | MetropolisHastings, package: ServedPackage, count: int, settings: Settings
) -> Selection:
    if package.calibration is None:
        raise InvalidRequest(Problem(("body", "select"), package.unscored))
    candidates = count * asked.candidates
    if candidates > settings.max_streamed_samples:
        words = f"at most {settings.max_streamed_samples} candidates in one request; {count} samples have {candidates}"
        raise InvalidRequest(Problem(("body", "select", "candidates"), words))
    gamma = asked.gamma if isinstance(asked, Rejection) else 0.0
    return Selection(method=asked.method, candidates=asked.candidates, gamma=gamma)
