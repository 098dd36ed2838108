"""Whether a job fits its package: pure, so that a route, a bulk script and another process learn the same.

Places in the problems are the job's own field names. What can go wrong before there is a job (broken JSON, too large a
body, too many samples) is the routes' business.

Shapes: N samples, Z latent coordinates, K classes, C channels, H height, W width.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.graphs import Prior
from service.engine.port import GenerateJob, ScoreJob
from service.engine.sampler import check_seeds
from service.errors import InvalidRequest, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a package offers to a job.

    Attributes:
        latent_size: Z.
        prior: of each latent coordinate.
        label_count: K of a conditional package, else None.
        sample_shape: of one sample, [C, H, W] of an image.
        pixels_shape: [H, W, C] of an image, else None.
        judges_by_label: whether there is a discriminator, and it takes a sample's class.
        largest_group: most samples in one ScoreJob, where they are judged together; None where they are not.
    """

    latent_size: int
    prior: Prior
    label_count: int | None
    sample_shape: tuple[int, ...]
    pixels_shape: tuple[int, ...] | None
    judges_by_label: bool
    largest_group: int | None


def check_generate(job: GenerateJob, offer: Offer) -> NDArray[np.uint64] | NDArray[np.float32]:
    """Check a job for the generator.

    Returns:
        What its samples are drawn from: seeds [N] or latents [N, Z].

    Raises:
        InvalidRequest: it does not fit.
    """
    if not (job.want_pixels or job.want_sample or job.want_logits):
        raise _invalid("want_pixels", "nothing is wanted")
    if job.want_pixels and offer.pixels_shape is None:
        raise _invalid("want_pixels", "this package's samples are not images and have no pixels")
    given: NDArray[np.uint64] | NDArray[np.float32]
    if job.latents is not None and job.seeds is None:
        given, count = job.latents, _count(job.latents, (offer.latent_size,), "latents")
        if offer.label_count is not None and job.labels is None:
            raise _invalid("labels", "given latents need labels; only a seed can draw one")
    elif job.seeds is not None and job.latents is None:
        given, count = job.seeds, _count(job.seeds, (), "seeds")
        check_seeds(job.seeds, offer.prior, job.sampler)
    else:
        raise _invalid("seeds", "either seeds or latents are needed, not both")
    _check_labels(job.labels, count, offer.label_count)
    return given


def check_score(job: ScoreJob, offer: Offer) -> NDArray[np.uint8] | NDArray[np.float32]:
    """Check a job for the discriminator.

    Returns:
        What it is to judge, [N, H, W, C] pixels or [N, C, H, W] samples.

    Raises:
        InvalidRequest: it does not fit.
    """
    judged: NDArray[np.uint8] | NDArray[np.float32]
    if job.sample is not None and job.pixels is None:
        judged, place, shape = job.sample, "sample", offer.sample_shape
    elif job.pixels is not None and job.sample is None:
        if offer.pixels_shape is None:
            raise _invalid("pixels", "this package's samples are not images; send their values")
        judged, place, shape = job.pixels, "pixels", offer.pixels_shape
    else:
        raise _invalid("pixels", "either pixels or a sample is needed, not both")
    count = _count(judged, shape, place)
    if offer.judges_by_label and job.labels is None:
        raise _invalid("labels", "this discriminator judges a sample as one of its class and needs its label")
    _check_labels(job.labels, count, offer.label_count if offer.judges_by_label else None)
    if offer.largest_group is not None and count > offer.largest_group:
        raise _invalid(place, f"this discriminator judges samples together, at most {offer.largest_group} at a time")
    return judged


def _count(rows: NDArray[np.generic], shape: tuple[int, ...], place: str) -> int:
    """N of an array that must be [N, *shape], not empty and finite."""
    if rows.ndim == 0 or rows.shape[1:] != shape or len(rows) == 0:
        wanted = ", ".join(["N", *map(str, shape)])
        raise _invalid(place, f"the shape must be [{wanted}] with N of 1 or more, not {list(rows.shape)}")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise _invalid(place, "every number must be finite")
    return len(rows)


def _check_labels(labels: NDArray[np.int64] | None, count: int, label_count: int | None) -> None:
    if labels is None:
        return
    if label_count is None:
        raise _invalid("labels", "no labels are taken here")
    if labels.shape != (count,):
        raise _invalid("labels", f"{count} labels are needed, one for each sample, not {list(labels.shape)}")
    if labels.min() < 0 or labels.max() >= label_count:
        raise _invalid("labels", f"a label is a number from 0 to {label_count - 1}")


def _invalid(place: str, message: str) -> InvalidRequest:
    return InvalidRequest(Problem((place,), message))
