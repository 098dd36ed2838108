"""Which of a seed's drawings become its sample: those inside a truncation, those that the discriminator chooses.

It stands alone because both ask for the same: a seed with more than one drawing. Given latents and the seeds of
`numpy-legacy` have one only, and are refused here in the engine's own words.

Shapes: N samples.
"""

from service.engine.graphs import Prior
from service.engine.port import Selection
from service.engine.sampler import check_redraws
from service.errors import InvalidRequest, Problem
from service.packages.catalogue import ServedPackage
from service.routes.sampling_schemas import Rejection
from service.routes.schemas import GenerateRequest
from service.settings import Settings

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
