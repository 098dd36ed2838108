"""What one /generate request comes to: a body held against the package that answers it and the form of the answer.

Here every rule is judged that needs more than the body: which fields exclude each other, how many samples the form
allows, whether the package has classes, codes, a condition, a discriminator, a latent of this size. Everything is
judged before the engine hears of the request, so a request is refused whole or accepted whole. Pure but for one thing:
a seed that the caller left out is drawn here, once, and is from then on as good as given.

Shapes: N samples, Z latent coordinates, Q codes.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.engine import sampler
from service.engine.port import GenerateJob, SamplerName
from service.errors import InvalidRequest, Problem
from service.media.negotiation import Media
from service.packages.repository import ServedPackage
from service.routes.answer_sizes import check_size
from service.routes.codes import read_codes
from service.routes.conditions import read_conditions
from service.routes.labels import read_labels
from service.routes.sample_kinds import DtypeName, Images, Kind, kind_of, sample_bytes
from service.routes.schemas import GenerateRequest
from service.routes.seed_ranges import MAX_SEED, read_ranges
from service.settings import MEBIBYTE, Settings

# Above this a JavaScript number is no longer an exact integer, and a browser would replay another sample.
BROWSER_SEEDS: Final = 2**53
STREAMED_FORMS: Final = frozenset({"npy", "zip"})
SCORED_FORMS: Final = frozenset({"json", "zip"})
# A stream holds two chunks at a time, one on its way and one being computed.
MAX_CHUNK_SAMPLES: Final = 1_024
MAX_CHUNK_BYTES: Final = 32 * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Samples to draw, with nothing left to decide.

    Attributes:
        package: which package draws them.
        kind: of its samples.
        count: N.
        seeds: uint64 [N], given or drawn; None for given latents.
        latents: float32 [N, Z]; None for seeds.
        labels: int64 [N]; None where the engine draws them or the package has none.
        codes: float64 [N, Q], NaN where the engine draws one; None where it draws all or the package has none.
        conditions: int64 [N]; None where the package has none.
        sampler: how seeds become latents.
        as_made: whether the answer is the generator's own values rather than pixels.
        scores: whether each sample's realness is asked for.
    """

    package: ServedPackage
    kind: Kind
    count: int
    seeds: NDArray[np.uint64] | None
    latents: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    codes: NDArray[np.float64] | None
    conditions: NDArray[np.int64] | None
    sampler: SamplerName
    as_made: bool
    scores: bool

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as the engine answers it."""
        return sample_bytes(self.kind, as_made=self.as_made)

    @property
    def chunk_samples(self) -> int:
        """How many samples a stream asks for at a time."""
        return max(1, min(MAX_CHUNK_SAMPLES, MAX_CHUNK_BYTES // self.sample_bytes))

    def jobs(self, chunk_samples: int) -> Iterator[GenerateJob]:
        """Cut the drawing into jobs of at most `chunk_samples`, in order."""
        for start in range(0, self.count, chunk_samples):
            part = slice(start, start + chunk_samples)
            yield GenerateJob(
                package=self.package.key,
                seeds=None if self.seeds is None else self.seeds[part],
                latents=None if self.latents is None else self.latents[part],
                labels=None if self.labels is None else self.labels[part],
                codes=None if self.codes is None else self.codes[part],
                conditions=None if self.conditions is None else self.conditions[part],
                sampler=self.sampler,
                want_pixels=not self.as_made,
                want_sample=self.as_made,
                want_logits=self.scores,
            )


def plan_drawing(
    wanted: GenerateRequest, package: ServedPackage, media: Media, dtype: DtypeName | None, settings: Settings
) -> Drawing:
    """Hold a request against its package and its form.

    Raises:
        InvalidRequest: it asks for what the package or the form does not have; every place is named.
    """
    _check_exclusions(wanted)
    manifest, kind = package.manifest, kind_of(package.manifest.sample)
    check_dtype(dtype, kind, media)
    if wanted.scores and package.calibration is None:
        raise InvalidRequest(Problem(("body", "scores"), "this package has no discriminator"))
    if wanted.scores and media.name not in SCORED_FORMS:
        raise InvalidRequest(Problem(("body", "scores"), "only JSON and ZIP answers have a place for scores"))
    count = _count(wanted, media, settings)
    seeds = None if wanted.latents is not None else _seeds(wanted, package, count)
    names = () if manifest.labels is None else manifest.labels.names
    labels = read_labels(wanted.label, wanted.labels, names=names, count=count)
    codes = read_codes(wanted.codes, manifest.codes, count=count)
    if seeds is None:
        _check_drawn(package, labels, codes)
    drawing = Drawing(
        package=package,
        kind=kind,
        count=count,
        seeds=seeds,
        latents=_latents(wanted, package),
        labels=labels,
        codes=codes,
        conditions=read_conditions(wanted.condition, manifest.condition, count=count),
        sampler=wanted.sampler,
        as_made=dtype == "float32" or not isinstance(kind, Images),
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
        _, own = kind.row(as_made=True)
        raise InvalidRequest(Problem(("query", "dtype"), f"this package makes {kind.words}; arrays of them are {own}"))


def _check_drawn(package: ServedPackage, labels: NDArray[np.int64] | None, codes: NDArray[np.float64] | None) -> None:
    """Refuse given latents that leave something out, for which there is no seed."""
    manifest = package.manifest
    if manifest.labels is not None and labels is None:
        raise InvalidRequest(Problem(("body", "labels"), "this package has classes, and given latents draw none"))
    if manifest.codes is not None and (codes is None or np.isnan(codes).any()):
        words = f"given latents draw no codes; name all of them: {', '.join(manifest.codes.names)}"
        raise InvalidRequest(Problem(("body", "codes"), words))


def _check_exclusions(wanted: GenerateRequest) -> None:
    given = wanted.model_fields_set
    ways = [way for way in ("latents", "seeds") if getattr(wanted, way) is not None]
    excluded = [field for field in ("seed", "n") if field in given and getattr(wanted, field) is not None]
    problems = [Problem(("body", field), f"`{ways[0]}` excludes `{field}`") for field in excluded if ways]
    if len(ways) > 1:
        problems.append(Problem(("body", "seeds"), "`latents` excludes `seeds`"))
    if problems:
        raise InvalidRequest(*problems)


def _count(wanted: GenerateRequest, media: Media, settings: Settings) -> int:
    field = next((name for name in ("latents", "seeds") if getattr(wanted, name) is not None), "n")
    match wanted:
        case GenerateRequest(latents=list(latents)):
            count = len(latents)
        case GenerateRequest(seeds=list(seeds)):
            count = len(seeds)
        case GenerateRequest(seeds=str(text)):
            try:
                count = read_ranges(text).count
            except ValueError as error:
                raise InvalidRequest(Problem(("body", "seeds"), str(error))) from error
        case _:
            count = wanted.n
    streamed = media.name in STREAMED_FORMS and field != "latents"
    limit = settings.max_streamed_samples if streamed else settings.max_samples
    if count > limit:
        hint = "" if streamed else f"; NPY and ZIP answers take up to {settings.max_streamed_samples} seeds"
        raise InvalidRequest(
            Problem(("body", field), f"at most {limit} samples in one {media.media_type} answer{hint}")
        )
    return count


def _seeds(wanted: GenerateRequest, package: ServedPackage, count: int) -> NDArray[np.uint64]:
    if isinstance(wanted.seeds, str):
        seeds = read_ranges(wanted.seeds).expand()
    elif wanted.seeds is not None:
        seeds = np.array(wanted.seeds, dtype=np.uint64)
    else:
        first = _drawn_seed(wanted.sampler, count) if wanted.seed is None else wanted.seed
        if first + count - 1 > MAX_SEED:
            raise InvalidRequest(Problem(("body", "seed"), f"`seed` + {count - 1} would pass {MAX_SEED}"))
        seeds = np.uint64(first) + np.arange(count, dtype=np.uint64)
    try:
        sampler.check_seeds(seeds, package.manifest.latent.prior, wanted.sampler)
    except InvalidRequest as error:
        raise InvalidRequest(Problem(("body", "sampler"), str(error))) from error
    return seeds


def _drawn_seed(name: SamplerName, count: int) -> int:
    above = BROWSER_SEEDS if name == "philox-1" else sampler.LARGEST_LEGACY_SEED + 1
    return secrets.randbelow(above - count + 1)


def _latents(wanted: GenerateRequest, package: ServedPackage) -> NDArray[np.float32] | None:
    if wanted.latents is None:
        return None
    size = package.manifest.latent.size
    for index, latent in enumerate(wanted.latents):
        if len(latent) != size:
            raise InvalidRequest(
                Problem(("body", "latents", index), f"a latent of this package has {size} numbers, not {len(latent)}")
            )
    return np.array(wanted.latents, dtype=np.float32)
