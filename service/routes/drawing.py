"""What one /generate request comes to: a body held against the package that answers it and the form of the answer.

Here every rule is judged that needs more than the body: how many samples the form allows, whether the package has
classes, codes, a condition, a discriminator, a latent of this size. What the samples are drawn from is read in
`origins.py`, which drawings of a seed count in `redraws.py`. Everything is judged before the engine hears of the
request, so a request is refused whole or accepted whole.

Shapes: N samples, Z latent coordinates, Q codes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from service.engine.port import GenerateJob, SamplerName, Selection
from service.errors import InvalidRequest, Problem
from service.media.negotiation import Media
from service.packages.catalogue import ServedPackage
from service.routes.answer_sizes import check_size
from service.routes.codes import read_codes
from service.routes.conditions import read_conditions
from service.routes.labels import read_labels
from service.routes.origins import STREAMED_FORMS, Origin, count_samples, read_origin
from service.routes.redraws import read_selection, read_truncation
from service.routes.sample_kinds import DtypeName, Images, Kind, sample_bytes
from service.routes.schemas import GenerateRequest
from service.settings import MEBIBYTE, Settings

SCORED_FORMS: Final = frozenset({"json", "zip"})
# A stream holds two chunks at a time, one on its way and one being computed.
MAX_CHUNK_SAMPLES: Final = 1_024
MAX_CHUNK_BYTES: Final = 8 * MEBIBYTE


@dataclass(slots=True, kw_only=True)  # every request makes one, and frozen ones take four times as long to make
class Drawing:
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
        as_made: whether the answer is the generator's own values rather than pixels.
        scores: whether each sample's realness is asked for.
    """

    package: ServedPackage
    kind: Kind
    count: int
    origin: Origin
    labels: NDArray[np.int64] | None
    codes: NDArray[np.float64] | None
    conditions: NDArray[np.int64] | None
    truncation: float | None
    selection: Selection | None
    as_made: bool
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
        return sample_bytes(self.kind, as_made=self.as_made)

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

    def _job(self, origin: Origin, part: slice, timeout_s: float | None) -> GenerateJob:
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
            want_pixels=not self.as_made,
            want_sample=self.as_made,
            want_logits=self.scores,
            timeout_s=timeout_s,
        )


def plan_drawing(
    wanted: GenerateRequest,
    package: ServedPackage,
    kind: Kind,
    media: Media,
    dtype: DtypeName | None,
    settings: Settings,
    place: str = "body",
) -> Drawing:
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
    drawing = Drawing(
        package=package,
        kind=kind,
        count=count,
        origin=read_origin(wanted, manifest.latent, count),
        labels=labels,
        codes=codes,
        conditions=read_conditions(wanted.condition, manifest.condition, count=count),
        truncation=read_truncation(wanted, manifest.latent.prior),
        selection=read_selection(wanted, package, count, settings),
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
