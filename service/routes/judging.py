"""What one /score request comes to: given samples held against the package whose discriminator judges them.

Every image must be exactly what the package's generator makes: its size, its mode. Nothing is resized or converted,
since the score would be another image's. Images are decoded in slices, so that a request with a thousand of them
shares its thread with others.

Shapes: N samples, C channels, H height, W width.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from service.engine.port import Samples, ScoreJob
from service.errors import InvalidRequest, Problem
from service.media.decoders import NpyBatch, decode_base64, decode_image, decode_npy
from service.packages.calibration import Calibration
from service.packages.repository import ServedPackage
from service.routes.encoding import logits_of
from service.routes.labels import read_labels
from service.routes.offload import Offload
from service.routes.sample_shape import image_shape
from service.routes.samples_in import Given, ImageFiles, NpyFile, Numbers
from service.routes.schemas import Score, ScoreAnswer
from service.settings import Settings
from service.telemetry import Telemetry

# About a millisecond of small PNGs.
SLICE_IMAGES = 32


@dataclass(frozen=True, slots=True)
class Judging:
    """Samples to judge, with nothing left to decide.

    Attributes:
        package: whose discriminator judges.
        calibration: how its logits are read.
        job: what the engine is asked, without its deadline.
    """

    package: ServedPackage
    calibration: Calibration
    job: ScoreJob


async def plan_judging(given: Given, package: ServedPackage, settings: Settings, offload: Offload) -> Judging:
    """Hold given samples against a package, and decode them.

    Args:
        given: what the caller gave.
        package: whose discriminator judges.
        settings: the limits.
        offload: where images are decoded.

    Raises:
        InvalidRequest: the package cannot judge these samples; every place is named.
        BodyTooLarge: an image has more pixels than the limit.
    """
    discriminator, calibration = package.manifest.discriminator, package.calibration
    if discriminator is None or calibration is None:
        raise InvalidRequest(Problem((given.place, "model"), f"the package {package.key} has no discriminator"))
    takes_label = any(tensor.role == "label" for tensor in discriminator.inputs)
    batch = await _decode(given, package, settings, offload)
    count = sum(len(array) for array in (batch.pixels, batch.sample) if array is not None)
    if count > settings.max_score_images:
        raise InvalidRequest(Problem(("body",), f"at most {settings.max_score_images} samples in one request"))
    labels = read_labels(
        given.label,
        given.labels,
        names=package.manifest.labels.names if takes_label and package.manifest.labels else (),
        count=count,
        place=given.place,
    )
    if takes_label and labels is None:
        words = "this discriminator judges a sample by its class; name it"
        raise InvalidRequest(Problem((given.place, "label"), words))
    job = ScoreJob(package=package.key, pixels=batch.pixels, sample=batch.sample, labels=labels)
    return Judging(package, calibration, job)


def write_scores(judging: Judging, judged: Samples, telemetry: Telemetry) -> bytes:
    """Read logits as the package calibrates them, observe them, and write the answer's JSON.

    Raises:
        InvalidRequest: a sample's logit is not finite.
    """
    package, calibration, logits = judging.package, judging.calibration, logits_of(judged)
    broken = np.flatnonzero(~np.isfinite(logits))
    if broken.size:
        words = f"sample {broken[0]} has values so large that the discriminator's answer is not finite"
        raise InvalidRequest(Problem(("body",), words))
    histogram = telemetry.scored_probability.labels(package.key.name)
    columns = (
        logits.astype(np.float64),
        calibration.probability(logits),
        calibration.log_density_ratio(logits),
        calibration.percentile_real(logits),
        calibration.percentile_generated(logits),
    )
    answered = ScoreAnswer(
        model=package.key.name,
        version=str(package.key.version),
        package_sha256=package.sha256,
        scores=[
            Score(
                logit=logit,
                probability=probability,
                log_density_ratio=ratio,
                percentile_real=among_real,
                percentile_generated=among_generated,
            )
            for logit, probability, ratio, among_real, among_generated in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ],
    )
    for each in answered.scores:
        histogram.observe(each.probability)
    return answered.model_dump_json().encode()


async def _decode(given: Given, package: ServedPackage, settings: Settings, offload: Offload) -> NpyBatch:
    shape = image_shape(package)
    match given.samples:
        case ImageFiles(files, locs):
            pixels = [
                await offload.run(_decode_files, ImageFiles(files[part], locs[part]), shape, settings.max_image_pixels)
                for part in _slices(len(files))
            ]
            return NpyBatch(pixels=np.concatenate(pixels))
        case NpyFile(content):
            return await offload.run_sized(len(content), decode_npy, content, shape)
        case Numbers() as numbers:
            return NpyBatch(sample=await offload.run(_read_numbers, numbers, shape))


def _slices(count: int) -> list[slice]:
    return [slice(start, start + SLICE_IMAGES) for start in range(0, count, SLICE_IMAGES)]


def _decode_files(images: ImageFiles, shape: tuple[int, int, int], max_pixels: int) -> NDArray[np.uint8]:
    """Decode image files to [N, H, W, C]."""
    return np.stack(
        [
            decode_image(decode_base64(file, loc) if isinstance(file, str) else file, shape, max_pixels, loc)
            for file, loc in zip(images.files, images.locs, strict=True)
        ]
    )


def _read_numbers(numbers: Numbers, shape: tuple[int, int, int]) -> NDArray[np.float32]:
    """Read flat lists of a sample's values as [N, C, H, W]."""
    height, width, channels = shape
    size = math.prod(shape)
    for index, row in enumerate(numbers.rows):
        if len(row) != size:
            words = f"a sample of this package has {channels}·{height}·{width} = {size} numbers, not {len(row)}"
            raise InvalidRequest(Problem(("body", "samples", index), words))
    return np.array(numbers.rows, dtype=np.float32).reshape(-1, channels, height, width)
