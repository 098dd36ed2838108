"""What one /generate request comes to: a body held against the package that answers it and the form of the answer.

Here every rule is judged that needs more than the body: which fields exclude each other, how many samples the form
allows, whether the package has classes, a discriminator, a latent of this size. Everything is judged before the
engine hears of the request, so a request is refused whole or accepted whole. Pure but for one thing: a seed that the
caller left out is drawn here, once, and is from then on as good as given.

Shapes: N samples, Z latent coordinates.
"""

import math
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
from service.routes.labels import read_labels
from service.routes.sample_shape import image_shape
from service.routes.schemas import DtypeName, GenerateRequest
from service.routes.seed_ranges import MAX_SEED, read_ranges
from service.settings import MEBIBYTE, Settings

# Above this a JavaScript number is no longer an exact integer, and a browser would replay another sample.
BROWSER_SEEDS: Final = 2**53
STREAMED_FORMS: Final = frozenset({"npy", "zip"})
SCORED_FORMS: Final = frozenset({"json", "zip"})
# WebP's longest side; and as many pixels as an encoder writes within seconds, 4,096 samples of 64×64.
MAX_SHEET_SIDE: Final = 16_383
MAX_SHEET_PIXELS: Final = 4_096 * 64 * 64
# A stream holds two chunks at a time, one on its way and one being computed.
MAX_CHUNK_SAMPLES: Final = 1_024
MAX_CHUNK_BYTES: Final = 32 * MEBIBYTE
# Pixels of an answer that must be whole before its first byte; writing it takes about four times as much memory.
MAX_WHOLE_BYTES: Final = 64 * MEBIBYTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """Samples to draw, with nothing left to decide.

    Attributes:
        package: which package draws them.
        shape: (H, W, C) of a sample.
        count: N.
        seeds: uint64 [N], given or drawn; None for given latents.
        latents: float32 [N, Z]; None for seeds.
        labels: int64 [N]; None where the engine draws them or the package has none.
        sampler: how seeds become latents.
        floats: whether the answer is the generator's own float32 rather than pixels.
        scores: whether each sample's realness is asked for.
    """

    package: ServedPackage
    shape: tuple[int, int, int]
    count: int
    seeds: NDArray[np.uint64] | None
    latents: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    sampler: SamplerName
    floats: bool
    scores: bool

    @property
    def sample_bytes(self) -> int:
        """Bytes of one sample as the engine answers it."""
        return math.prod(self.shape) * (np.float32().itemsize if self.floats else 1)

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
                sampler=self.sampler,
                want_pixels=not self.floats,
                want_sample=self.floats,
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
    if dtype is not None and media.name != "npy":
        raise InvalidRequest(Problem(("query", "dtype"), "only an NPY answer has an element type"))
    if wanted.scores and package.calibration is None:
        raise InvalidRequest(Problem(("body", "scores"), "this package has no discriminator"))
    if wanted.scores and media.name not in SCORED_FORMS:
        raise InvalidRequest(Problem(("body", "scores"), "only JSON and ZIP answers have a place for scores"))
    count = _count(wanted, media, settings)
    seeds = None if wanted.latents is not None else _seeds(wanted, package, count)
    names = () if package.manifest.labels is None else package.manifest.labels.names
    labels = read_labels(wanted.label, wanted.labels, names=names, count=count)
    if names and labels is None and seeds is None:
        raise InvalidRequest(Problem(("body", "labels"), "this package has classes, and given latents draw none"))
    drawing = Drawing(
        package=package,
        shape=image_shape(package),
        count=count,
        seeds=seeds,
        latents=_latents(wanted, package),
        labels=labels,
        sampler=wanted.sampler,
        floats=dtype == "float32",
        scores=wanted.scores,
    )
    _check_size(drawing, media)
    return drawing


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


def _check_size(drawing: Drawing, media: Media) -> None:
    """Refuse what would be too large to be made whole."""
    if media.name in STREAMED_FORMS:
        return
    if drawing.count * drawing.sample_bytes > MAX_WHOLE_BYTES:
        fitting = MAX_WHOLE_BYTES // drawing.sample_bytes
        raise _too_large(f"at most {fitting} samples of this size fit one {media.media_type} answer")
    if media.name == "json":
        return
    height, width, _ = drawing.shape
    columns = math.isqrt(drawing.count - 1) + 1
    rows = -(-drawing.count // columns)
    sides = columns * width, rows * height
    if max(sides) > MAX_SHEET_SIDE or math.prod(sides) > MAX_SHEET_PIXELS:
        raise _too_large(
            f"the contact sheet would have {sides[0]}×{sides[1]} pixels; at most {MAX_SHEET_PIXELS} are made"
        )


def _too_large(words: str) -> InvalidRequest:
    return InvalidRequest(Problem(("body", "n"), f"{words}; NPY and ZIP answers are streamed and may be larger"))
