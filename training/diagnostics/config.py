"""What a run is watched for, and what follows: the `[diagnostics]` table.

It stands alone so that a configuration can be read without importing anything that measures. How each thing is measured
and what its figures mean is said beside the measurement.
"""

from dataclasses import dataclass
from typing import Annotated

from training.tables import Range

FEWEST_PROBED = 32  # below, a share or a nearest neighbour says nothing
MOST_PROBED = 8_192  # 0.5 GB of distances


@dataclass(frozen=True, kw_only=True)
class DiagnosticsConfig:
    """The `[diagnostics]` table; nothing in it changes what a healthy run computes.

    Attributes:
        every_samples: distance of the `theory/…` rows of `metrics.jsonl`; 0 measures nothing.
        probe_samples: generated samples, and as many real ones, that one measurement looks at.
        classifier: count modes of labelled images with a classifier of their own, which is trained before the first
            measurement unless it is cached; false leaves their modes uncounted.
        stop_on_collapse: end the run when the collapse alarm is raised, with a checkpoint.
        rollback: how often a run that diverges goes back to its newest checkpoint, with half the learning rates,
            before it gives up.
    """

    every_samples: Annotated[int, Range(at_least=0)] = 6_400
    probe_samples: Annotated[int, Range(at_least=FEWEST_PROBED, at_most=MOST_PROBED)] = 512
    classifier: bool = True
    stop_on_collapse: bool = False
    rollback: Annotated[int, Range(at_least=0)] = 2
