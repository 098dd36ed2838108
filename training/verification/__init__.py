"""The theory re-derived in numbers and compared with the objectives.

    discriminators · generator_gradients · f_divergences · transport · optima · information
                    each yields findings ──▶ report, as a table or JSON

In: nothing. Out: findings, a table and an exit code. Losses, penalties and bounds are those of `training.objectives`.
May import objectives, networks, data.mixtures, codes, schedule, progress and errors.
"""

from typing import Final

from training.progress import progress
from training.verification import report
from training.verification.base import Finding, Verification, VerificationError
from training.verification.discriminators import verify_discriminators
from training.verification.f_divergences import verify_f_divergences
from training.verification.generator_gradients import verify_generator_gradients
from training.verification.information import verify_information
from training.verification.optima import verify_optima
from training.verification.transport import verify_transport

__all__ = ["VERIFICATIONS", "Finding", "Verification", "VerificationError", "report", "verify"]

VERIFICATIONS: Final[tuple[Verification, ...]] = (
    verify_discriminators,
    verify_generator_gradients,
    verify_f_divergences,
    verify_transport,
    verify_optima,
    verify_information,
)


def verify() -> list[Finding]:
    """Compute every finding; the same numbers at every call on one machine."""
    parts = progress(VERIFICATIONS, "checking against theory", len(VERIFICATIONS), "part")
    return [finding for verification in parts for finding in verification()]
