"""What one /score request comes to: given samples for the discriminator of their package, and its logits as scores.

Shapes: N samples.
"""

from dataclasses import dataclass

import numpy as np

from service.engine.port import Samples, ScoreJob
from service.errors import InvalidRequest, Problem
from service.packages.calibration import Calibration
from service.packages.catalogue import ServedPackage
from service.routes.answer_schemas import Score, ScoreAnswer
from service.routes.encoding import logits_of
from service.routes.held_samples import hold
from service.routes.offload import Offload
from service.routes.samples_in import Given
from service.settings import Settings
from service.telemetry import Telemetry


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
    held = await hold(given, package, [discriminator], settings, offload)
    return Judging(package, calibration, held.job(ScoreJob, discriminator))


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
