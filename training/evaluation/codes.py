"""Whether categories that were found without labels are the classes that people see.

A code that is read from held-out images by argmax is compared with their labels in two ways:

    one-to-one     each category is matched with another class, the matching that agrees most (Hungarian algorithm)
    by majority    each category stands for the class most frequent in it; several may stand for one: never less

The first is the honest figure where there are as many categories as classes: it does not forgive a class that is split
while two others are merged.

Shapes: N samples, K categories or classes.

References:
    Kuhn, The Hungarian Method for the Assignment Problem (1955).
    Chen et al., InfoGAN (2016), section 7.2: the error of a categorical code as a classifier of digits.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Classes = NDArray[np.int64]


@dataclass(frozen=True)
class CodeAccuracy:
    """How well categories agree with classes.

    Attributes:
        one_to_one: share of samples whose category's own class is theirs.
        majority: share of samples whose class is the most frequent one of their category.
        classes: of each category, its class under the one-to-one matching; -1 where there are more categories.
    """

    one_to_one: float
    majority: float
    classes: tuple[int, ...]


def code_accuracy(probabilities: NDArray[np.floating], labels: Classes) -> CodeAccuracy:
    """Compare the categories of samples with their labels.

    Args:
        probabilities: [N, K] of each category.
        labels: [N].

    Returns:
        Both shares and the matching.
    """
    categories = probabilities.shape[1]
    together = np.zeros((categories, int(labels.max()) + 1), dtype=np.int64)
    np.add.at(together, (probabilities.argmax(axis=1), labels), 1)
    matched, chosen = linear_sum_assignment(together, maximize=True)
    classes = np.full(categories, -1)
    classes[matched] = chosen
    return CodeAccuracy(
        one_to_one=float(together[matched, chosen].sum() / len(labels)),
        majority=float(together.max(axis=1).sum() / len(labels)),
        classes=tuple(classes.tolist()),
    )
