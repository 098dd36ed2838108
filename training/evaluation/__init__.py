"""How good generated images are: features of them beside those of real held-out images.

    generated, held-out ──▶ judge ──▶ features ──▶ distances, neighbourhoods ──▶ intervals
                                 └──▶ classes  ──▶ modes

This room receives images as bytes, the way the service sends them, and never asks how they were made. Every figure
comes with the same figure for real images in the generator's place: that is the floor that sampling noise sets.
"""

from training.evaluation.evaluate import Evaluation, evaluate, reference_rows

__all__ = ["Evaluation", "evaluate", "reference_rows"]
