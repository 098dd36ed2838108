"""Ranking metrics of items that users took later: precision, discounted gain, average precision, reciprocal rank.

    candidates of a user   all items but those known to be relevant (the training pairs)
    counted users          those with a test pair; a figure is the mean over them

    P@k    share of relevant items among the first k
    NDCG@k sum of 1 / log2(1 + rank) over relevant items among the first k, by the largest such sum
    MAP    mean over relevant items of the precision at their ranks
    MRR    1 / rank of the first relevant item

The candidates include items that a user rated low and so could not take later: this is the protocol of IRGAN's
published code, so figures are comparable.

Shapes: U users, I items, S counted users.

References:
    Järvelin and Kekäläinen, Cumulated Gain-Based Evaluation of IR Techniques (2002).
    Wang et al., IRGAN (2017), section 4.2 and its published code.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.interaction_data import Relevance

CUTOFFS: Final = (3, 5, 10)  # of IRGAN's table
METRICS: Final = (*(f"precision_at_{k}" for k in CUTOFFS), *(f"ndcg_at_{k}" for k in CUTOFFS), "map", "mrr")


def rank(scores: NDArray[np.floating], known: Relevance, sought: Relevance) -> dict[str, float]:
    """Rank every user's candidates by score and evaluate the ranks of the sought items.

    Args:
        scores: [U, I]; among equal ones the lower number comes first.
        known: [U, I], excluded from the candidates.
        sought: [U, I], to be found; disjoint from `known`.

    Returns:
        All of `METRICS`, each in [0, 1].

    Raises:
        ValueError: if nothing is sought, or a known item is.
    """
    if not sought.any() or (sought & known).any():
        raise ValueError("something must be sought, and no known item")
    users = np.flatnonzero(sought.any(axis=1))
    order = np.argsort(np.where(known[users], np.inf, -scores[users].astype(np.float64)), axis=1, kind="stable")
    hits = np.take_along_axis(sought[users], order, axis=1)
    places = np.arange(1, hits.shape[1] + 1)
    totals = hits.sum(axis=1)
    discounts = 1 / np.log2(1 + places)
    best = np.concatenate([[0.0], np.cumsum(discounts)])  # largest gain for each number of hits
    precision = np.cumsum(hits, axis=1) / places
    return {
        **{f"precision_at_{k}": float((hits[:, :k].sum(axis=1) / k).mean()) for k in CUTOFFS},
        **{
            f"ndcg_at_{k}": float(((hits[:, :k] * discounts[:k]).sum(axis=1) / best[np.minimum(totals, k)]).mean())
            for k in CUTOFFS
        },
        "map": float(((precision * hits).sum(axis=1) / totals).mean()),
        "mrr": float((1 / (1 + hits.argmax(axis=1))).mean()),
    }


def popularity(known: Relevance) -> NDArray[np.float64]:
    """Score items by the number of users who took them.

    Args:
        known: [U, I].

    Returns:
        [U, I], the same for every user.
    """
    return np.broadcast_to(known.sum(axis=0).astype(np.float64), known.shape)
