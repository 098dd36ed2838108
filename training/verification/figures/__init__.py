"""The figures of docs/theory.md, made by the objectives themselves.

    optimum · saturation · transport · convergence · f_divergences · collapse · information · joint · calibration
                    each computes numbers, and draws them ──▶ one PNG a figure, and facts.json

In: nothing. Out: images, and the figures that their captions state.
May import everything in training except the command line and the experiments.
"""

from pathlib import Path
from typing import Final

from training.verification.figures import (
    calibration,
    collapse,
    convergence,
    f_divergences,
    information,
    joint,
    optimum,
    saturation,
    transport,
)
from training.verification.figures.base import Maker, write

__all__ = ["FIGURES", "make"]

FIGURES: Final[dict[str, Maker]] = {
    "optimal-discriminator": optimum.optimal_discriminator,
    "value": optimum.value,
    "saturation": saturation.saturation,
    "disjoint-supports": transport.disjoint_supports,
    "lipschitz": transport.lipschitz,
    "f-divergences": f_divergences.fitted,
    "mode-collapse": collapse.frames,
    "dirac": convergence.dirac,
    "information": information.bound,
    "joint": joint.inversion,
    "calibration": calibration.calibration,
}


def make(out: Path) -> list[Path]:
    """Compute and draw every figure.

    Args:
        out: folder of the images; made if it is missing.

    Returns:
        The files, `facts.json` last.

    Raises:
        TrainingError: if a run fails or a file cannot be written.
    """
    return write(FIGURES, out)
