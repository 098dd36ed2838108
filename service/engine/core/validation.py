"""Validates a job against the capabilities of its package; pure, and the same for every sender of jobs.

A problem's place is the job's own field name.

Shapes: N samples, Z latent coordinates, Q codes, C channels, H height, W width.
"""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from service.engine.interface import EncodeJob, GenerateJob, Path, SampleJob, ScoreJob
from service.engine.model_spec import Array, Capabilities, CodeSpec, Role
from service.engine.sampling.codes import misfit
from service.engine.sampling.sampler import check_redraws, check_seeds
from service.errors import InvalidRequest, Problem

# Most classes that a sample without a label is judged under: each costs a run of the discriminator.
MAX_CLASSES_JUDGED = 64

Ids = NDArray[np.int64]


def check_generate(job: GenerateJob, capabilities: Capabilities) -> Array:
    """Check a job for the generator, unless these very capabilities have passed it before.

    Returns:
        What its samples are drawn from: seeds [N], latents [N, Z], or positions [N] on its path.

    Raises:
        InvalidRequest: it does not fit.
    """
    source: Array
    match job.seeds, job.latents, job.path:
        case np.ndarray() as seeds, None, None:
            source = seeds
        case None, np.ndarray() as latents, None:
            source = latents
        case None, None, Path(positions=positions):
            source = positions
        case _:
            raise _invalid("seeds", "either seeds, latents or a path are needed, and only one of them")
    if job.checked_for is not capabilities:
        _check_wanted(job, capabilities)
        _check_source(job, capabilities)
        _check_conditioning(job, capabilities, len(source))
        _check_redraws(job, capabilities, len(source))
        job.checked_for = capabilities
    return source


def check_score(job: ScoreJob, capabilities: Capabilities) -> tuple[Array, dict[Role, Array]]:
    """Check a job for the discriminator.

    Returns:
        What it is to judge, [N, H, W, C] pixels or [N, …] samples, and its conditioning, [N] each; no label where
        samples are to be judged under every class.

    Raises:
        InvalidRequest: it does not fit.
    """
    takes = set(capabilities.discriminator_conditioning)
    if job.labels is None and (capabilities.label_count or 0) <= MAX_CLASSES_JUDGED:
        takes.discard("label")
    judged, conditioning = _check_samples(job, capabilities, takes, "discriminator")
    if capabilities.largest_group is not None and len(judged) > capabilities.largest_group:
        place = "sample" if job.pixels is None else "pixels"
        words = f"this discriminator judges samples together, at most {capabilities.largest_group} at a time"
        raise _invalid(place, words)
    return judged, conditioning


def check_encode(job: EncodeJob, capabilities: Capabilities) -> tuple[Array, dict[Role, Array]]:
    """Check a job for the encoder; as `check_score` otherwise."""
    return _check_samples(job, capabilities, capabilities.encoder_conditioning, "encoder")


def _check_wanted(job: GenerateJob, capabilities: Capabilities) -> None:
    if not (job.want_pixels or job.want_sample or job.want_logits):
        raise _invalid("want_pixels", "nothing is wanted")
    if job.want_pixels and capabilities.pixels_shape is None:
        raise _invalid("want_pixels", "this package's samples are not images and have no pixels")


def _check_source(job: GenerateJob, capabilities: Capabilities) -> None:
    if job.seeds is not None:
        check_seeds(job.seeds, capabilities.prior, job.sampler)
        _check_rows(job.seeds, (), "seeds")
    elif job.latents is not None:
        if capabilities.label_count is not None and job.labels is None:
            raise _invalid("labels", "given latents need labels; only a seed can draw one")
        if capabilities.codes is not None and (job.codes is None or np.isnan(job.codes).any()):
            raise _invalid("codes", "given latents need every code; only a seed can draw one")
        _check_rows(job.latents, (capabilities.latent_size,), "latents")
    elif job.path is not None:
        _check_path(job.path, job, capabilities)


def _check_path(path: Path, job: GenerateJob, capabilities: Capabilities) -> None:
    prior = capabilities.prior
    check_seeds(np.array([path.first, path.last], np.uint64), prior, job.sampler)
    if path.curve == "slerp" and prior != "standard_normal":
        words = f"slerp keeps the length of normal latents; this package's are {prior}, for which there is lerp"
        raise _invalid("path", words)
    _check_rows(path.positions, (), "path")
    if path.positions.min() < 0 or path.positions.max() > 1:
        raise _invalid("path", "positions lie between 0 and 1")


def _check_conditioning(job: GenerateJob, capabilities: Capabilities, count: int) -> None:
    if capabilities.condition_count is not None and job.conditions is None:
        raise _invalid("conditions", "this generator draws for a condition; name it")
    if job.labels is not None:
        _check_ids("labels", job.labels, count, capabilities.label_count)
    if job.conditions is not None:
        _check_ids("conditions", job.conditions, count, capabilities.condition_count)
    if job.codes is not None:
        _check_codes(job.codes, count, capabilities.codes)


def _check_redraws(job: GenerateJob, capabilities: Capabilities, count: int) -> None:
    """Truncation and candidates: only a seed can be drawn from more than once."""
    chosen = job.candidates is not None or job.selection is not None
    if job.truncation is None and not chosen:
        return
    check_redraws(capabilities.prior, job.sampler, job.truncation, has_candidates=chosen)
    if job.truncation is not None and job.latents is not None:
        raise _invalid("truncation", "given latents are as they are; only a seed has other drawings")
    if chosen and job.seeds is None:
        words = "only seeds have candidates; given latents and paths are as they are"
        raise _invalid("candidates" if job.selection is None else "selection", words)
    if job.candidates is not None and job.selection is not None:
        raise _invalid("candidates", "a selection has its own")
    if job.candidates is not None and job.candidates.shape != (count,):
        raise _invalid("candidates", f"{count} are needed, one for each sample, not {list(job.candidates.shape)}")
    if job.selection is not None and job.selection.candidates < 1:
        raise _invalid("selection", "at least one candidate is needed")


def _check_samples(
    job: SampleJob, capabilities: Capabilities, takes: Collection[Role], graph: str
) -> tuple[Array, dict[Role, Array]]:
    given: Array
    if job.sample is not None and job.pixels is None:
        given, place, shape = job.sample, "sample", capabilities.sample_shape
    elif job.pixels is not None and job.sample is None:
        if capabilities.pixels_shape is None:
            raise _invalid("pixels", "this package's samples are not images; send their values")
        given, place, shape = job.pixels, "pixels", capabilities.pixels_shape
    else:
        raise _invalid("pixels", "either pixels or a sample is needed, not both")
    _check_rows(given, shape, place)
    count = len(given)
    if capabilities.item_count is not None:
        _check_ids(place, given.astype(np.int64, copy=False), count, capabilities.item_count)
    fields: tuple[tuple[Role, str, Ids | None, int | None], ...] = (
        ("label", "labels", job.labels, capabilities.label_count),
        ("condition", "conditions", job.conditions, capabilities.condition_count),
    )
    conditioning: dict[Role, Array] = {}
    for role, field, ids, known in fields:
        if role in takes and ids is None:
            raise _invalid(field, f"this {graph} is told each sample's {role}; name it")
        if ids is not None:
            _check_ids(field, ids, count, known if role in takes else None)
            conditioning[role] = ids
    return given, conditioning


def _check_rows(rows: Array, shape: tuple[int, ...], place: str) -> None:
    """Refuse an array that is not [N, *shape], with N of 1 or more, and finite."""
    if rows.ndim == 0 or rows.shape[1:] != shape or len(rows) == 0:
        wanted = ", ".join(["N", *map(str, shape)])
        raise _invalid(place, f"the shape must be [{wanted}] with N of 1 or more, not {list(rows.shape)}")
    if rows.dtype.kind == "f" and not np.isfinite(rows).all():
        raise _invalid(place, "every number must be finite")


def _check_ids(place: str, ids: Ids, count: int, known: int | None) -> None:
    """Labels, conditions or items: N of them, each below `known`; None where the graph takes none."""
    if known is None:
        raise _invalid(place, f"no {place} are taken here")
    if ids.shape != (count,):
        raise _invalid(place, f"{count} {place} are needed, one for each sample, not {list(ids.shape)}")
    if ids.min() < 0 or ids.max() >= known:
        raise _invalid(place, f"each is a number from 0 to {known - 1}")


def _check_codes(codes: NDArray[np.float64], count: int, spec: CodeSpec | None) -> None:
    if spec is None:
        raise _invalid("codes", "no codes are taken here")
    if codes.shape != (count, spec.count):
        raise _invalid("codes", f"the shape must be [{count}, {spec.count}], not {list(codes.shape)}")
    place = misfit(codes, spec)
    if place is not None:
        raise _invalid("codes", f"code {place[1]} of sample {place[0]} is not one of its values, or out of its bounds")


def _invalid(place: str, message: str) -> InvalidRequest:
    return InvalidRequest(Problem((place,), message))
