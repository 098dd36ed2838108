"""How good generated images are: features of them beside those of real held-out images.

    generated, held-out ──▶ judge ──▶ features ──▶ distances, neighbourhoods ──▶ intervals
                                 └──▶ classes  ──▶ modes

In: samples as bytes or numbers, and data sets. Out: figures, tables and pictures of samples; every figure comes with
the same figure for real images in the generator's place, which is the floor that sampling noise sets.
May import data, files and progress.
"""

from training.evaluation.evaluate import Evaluation, evaluate, reference_rows

__all__ = ["Evaluation", "evaluate", "reference_rows"]
