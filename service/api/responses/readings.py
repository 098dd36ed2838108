"""What discriminators and encoders say of given samples: scores, latents and codes, as JSON.

Shapes: N samples, K elements of the code tensor.

References:
    Donahue, Krähenbühl and Darrell, Adversarial Feature Learning (2017), section 3: the encoder E(x).
    Chen et al., InfoGAN (2016), section 5: the head Q(c | x).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.api.context import ThreadPool
from service.api.requests.samples import SampleBody, validate_samples
from service.api.responses.encoding import logits_of
from service.api.schemas.responses import CategoricalReading, EncodeAnswer, Encoding, Score, ScoreAnswer
from service.engine.core.validation import MAX_CLASSES_JUDGED
from service.engine.interface import Samples, ScoreJob
from service.errors import InvalidRequest, Problem
from service.metrics import Telemetry
from service.packages.calibration import Calibration
from service.packages.registry import ServedPackage
from service.packages.schema import Codes, Graph
from service.settings import Settings

# Field name → one value per sample.
Columns = dict[str, list[Any]]


@dataclass(frozen=True, slots=True)
class Judging:
    """A validated request for scores.

    Attributes:
        calibration: of the discriminator, for samples whose class is named or that have none.
        job: without a deadline.
    """

    package: ServedPackage
    calibration: Calibration
    job: ScoreJob

    @property
    def count(self) -> int:
        """How many samples there are."""
        rows = self.job.sample if self.job.pixels is None else self.job.pixels
        return 0 if rows is None else len(rows)

    @property
    def rows(self) -> int:
        """How many the discriminator judges: a sample without a class under every class."""
        manifest = self.package.manifest
        if self.job.labels is not None or manifest.labels is None or manifest.discriminator is None:
            return self.count
        takes_label = any(tensor.role == "label" for tensor in manifest.discriminator.inputs)
        return self.count * (len(manifest.labels.names) if takes_label else 1)


async def plan_judging(given: SampleBody, package: ServedPackage, settings: Settings, offload: ThreadPool) -> Judging:
    """Validate samples for a package's discriminator, and decode them.

    Raises:
        InvalidRequest: the package has no discriminator, or these are not its samples.
        BodyTooLarge: an image has more pixels than the limit.
    """
    discriminator, calibration = package.manifest.discriminator, package.calibration
    if discriminator is None or calibration is None:
        raise InvalidRequest(Problem((given.place, "model"), package.unscored))
    if given.label is None and given.labels is None and any(tensor.role == "label" for tensor in discriminator.inputs):
        _refuse_if_label_needed(given, package)
    samples = await validate_samples(given, package, [discriminator], settings, offload, needs_label=False)
    return Judging(package, calibration, samples.job(ScoreJob, discriminator))


def _refuse_if_label_needed(given: SampleBody, package: ServedPackage) -> None:
    """Refuse samples without a label where the package has no calibration for them."""
    if package.unknown_label is not None:
        return
    classes = len(package.manifest.labels.names) if package.manifest.labels else 0
    if classes > MAX_CLASSES_JUDGED:
        words = (
            f"name the class of each sample: without it every class would be judged, of which there are {classes} here "
            f"and may be {MAX_CLASSES_JUDGED}"
        )
    else:
        words = (
            f"name the class of each sample: {package.key} was exported before scores without a class were calibrated. "
            f"`python -m training calibrate models/{package.key}` publishes it again with that calibration"
        )
    raise InvalidRequest(Problem((given.place, "label"), words))


def write_scores(judging: Judging, judged: Samples, telemetry: Telemetry) -> bytes:
    """Encode scores as JSON, and record their probabilities.

    Raises:
        InvalidRequest: a sample's logit is not finite.
    """
    package, calibration, logits = judging.package, judging.calibration, logits_of(judged)
    broken = np.flatnonzero(~np.isfinite(logits.reshape(len(logits), -1)).all(axis=1))
    if broken.size:
        words = f"sample {broken[0]} has values so large that the discriminator's answer is not finite"
        raise InvalidRequest(Problem(("body",), words))
    named: Columns = {}
    read: NDArray[np.floating] = logits
    if package.unknown_label is not None and logits.ndim > 1:
        readings = package.unknown_label.read(logits)
        names = package.manifest.labels.names if package.manifest.labels else ()
        named = {
            "label": readings.labels.tolist(),
            "label_name": [names[label] for label in readings.labels],
            "label_probability": readings.label_probabilities.tolist(),
        }
        calibration, read = package.unknown_label.calibration, readings.log_odds
        logits = np.take_along_axis(logits, readings.labels[:, np.newaxis], axis=1)[:, 0]
    histogram = telemetry.scored_probability.labels(package.key.name)
    columns: Columns = {
        **named,
        "logit": logits.astype(np.float64).tolist(),
        "probability": calibration.probability(read).tolist(),
        "log_density_ratio": calibration.log_density_ratio(read).tolist(),
        "percentile_real": calibration.percentile_real(read).tolist(),
        "percentile_generated": calibration.percentile_generated(read).tolist(),
    }
    answered = ScoreAnswer(
        model=package.key.name,
        version=str(package.key.version),
        package_sha256=package.sha256,
        scores=[Score(**dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)],
    )
    for each in answered.scores:
        histogram.observe(each.probability)
    return answered.model_dump_json(exclude_none=True).encode()


def encoder_of(package: ServedPackage, given: SampleBody) -> Graph:
    """The package's encoder.

    Raises:
        InvalidRequest: it has none.
    """
    if package.manifest.encoder is None:
        words = (
            f"the package {package.key} has no encoder; name one that has: GET /models/NAME/versions/VERSION shows "
            "`encoder` where there is one"
        )
        raise InvalidRequest(Problem((given.place, "model"), words))
    return package.manifest.encoder


def numbers_of(encoder: Graph) -> int:
    """How many numbers an encoder returns for one sample."""
    return sum(math.prod(tensor.shape[1:]) for tensor in encoder.outputs)


def check_encodings(encoded: Samples) -> None:
    """Refuse samples for which the encoder's answer is not finite.

    Raises:
        InvalidRequest: a sample's latent or codes are not finite.
    """
    for array in (encoded.latents, encoded.readings):
        if array is None:
            continue
        broken = np.flatnonzero(~np.isfinite(array).all(axis=1))
        if broken.size:
            words = f"sample {broken[0]} has values so large that the encoder's answer is not finite"
            raise InvalidRequest(Problem(("body",), words))


def write_encodings(package: ServedPackage, encoded: Samples) -> bytes:
    """Encode latents and codes as JSON.

    Raises:
        InvalidRequest: as `check_encodings`.
    """
    check_encodings(encoded)
    codes = package.manifest.codes
    columns: dict[str, list[object]] = {}
    if encoded.latents is not None:
        columns["latent"] = encoded.latents.tolist()
    if encoded.readings is not None and codes is not None:
        columns["codes"] = [name_readings(row, codes) for row in encoded.readings.tolist()]
    answered = EncodeAnswer(
        model=package.key.name,
        version=str(package.key.version),
        package_sha256=package.sha256,
        encodings=[
            Encoding.model_validate(dict(zip(columns, row, strict=True))) for row in zip(*columns.values(), strict=True)
        ],
    )
    return answered.model_dump_json(exclude_none=True).encode()


def name_readings(row: Sequence[float], codes: Codes) -> dict[str, CategoricalReading | float]:
    """An encoder's readings of one sample [K] by name: each categorical code's distribution, each other one's mean."""
    readings: dict[str, CategoricalReading | float] = {}
    start = 0
    for code in codes.categorical:
        probabilities = list(row[start : start + code.size])
        readings[code.name] = CategoricalReading(value=int(np.argmax(probabilities)), probabilities=probabilities)
        start += code.size
    return readings | {code.name: row[start + index] for index, code in enumerate(codes.continuous)}
