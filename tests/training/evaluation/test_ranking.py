"""Rankings: the figures by hand, and the published ones of MovieLens where its files are at hand."""

import numpy as np
import pytest
import torch

from training.data import InteractionsConfig, rating_files
from training.data.planted import PlantedConfig, load, tastes
from training.evaluation.ranking import METRICS, popularity, rank
from training.networks.item_item import regression

needs_files = pytest.mark.skipif(
    not all((rating_files.folder() / name).exists() for name in rating_files.SHA256),
    reason=f"needs MovieLens-100k in IRGAN's split, in {rating_files.folder()}",
)
NOTHING = np.zeros((1, 6), dtype=np.bool_)


def sought(*items: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    table = NOTHING.copy()
    table[0, list(items)] = True
    return table


def test_figures_agree_with_those_by_hand() -> None:
    figures = rank(-np.arange(6.0)[None], NOTHING, sought(1, 3))  # hits at ranks 2 and 4
    gain = [1 / np.log2(1 + place) for place in range(1, 6)]
    assert figures["precision_at_3"] == pytest.approx(1 / 3)
    assert figures["precision_at_5"] == pytest.approx(2 / 5)
    assert figures["precision_at_10"] == pytest.approx(2 / 10)
    assert figures["ndcg_at_3"] == pytest.approx(gain[1] / (gain[0] + gain[1]))
    assert figures["ndcg_at_5"] == pytest.approx((gain[1] + gain[3]) / (gain[0] + gain[1]))
    assert figures["map"] == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert figures["mrr"] == pytest.approx(1 / 2)


def test_known_items_are_no_candidates() -> None:
    scores = -np.arange(6.0)[None]
    assert rank(scores, sought(0), sought(1))["mrr"] == 1
    assert rank(scores, NOTHING, sought(1))["mrr"] == 1 / 2


def test_users_with_nothing_to_find_are_not_counted() -> None:
    scores = np.stack([-np.arange(6.0), np.arange(6.0)])
    both = rank(scores, np.zeros((2, 6), np.bool_), np.concatenate([sought(0), NOTHING]))
    assert both == rank(scores[:1], NOTHING, sought(0))


def test_a_perfect_ranking_has_the_largest_figures() -> None:
    figures = rank(sought(2, 4, 5).astype(float), NOTHING, sought(2, 4, 5))
    assert figures.pop("precision_at_5") == pytest.approx(3 / 5)  # there are but three
    assert figures.pop("precision_at_10") == pytest.approx(3 / 10)
    assert set(figures.values()) == {1.0}


@pytest.mark.parametrize("target", [NOTHING, sought(0, 1)])
def test_nothing_to_find_and_something_known_to_find_are_refused(
    target: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
) -> None:
    with pytest.raises(ValueError, match="something must be sought"):
        rank(np.zeros((1, 6)), sought(0), target)


def test_on_planted_data_the_truth_beats_the_regression_and_that_beats_popularity() -> None:
    config = PlantedConfig()
    data = load(config)
    known, wanted = data.relevance(data.pairs), data.relevance(data.test)
    linear = known @ regression(torch.from_numpy(known), 20.0).numpy()
    best, middle, worst = (rank(scores, known, wanted) for scores in (tastes(config), linear, popularity(known)))
    for name in METRICS:
        assert best[name] > middle[name] > worst[name]


@needs_files
@pytest.mark.parametrize(
    ("row", "published"),
    [
        ("popularity", (0.2624, 0.2338, 0.2050, 0.2793, 0.2568, 0.2403, 0.1516, 0.4657)),
        ("regression", (0.4576, 0.4162, 0.3559, 0.4832, 0.4557, 0.4277, 0.2794, 0.6772)),
    ],
)
def test_baselines_on_movielens_have_the_figures_of_an_independent_scorer(
    row: str, published: tuple[float, ...]
) -> None:
    data = rating_files.load(InteractionsConfig())
    known, wanted = data.relevance(data.pairs), data.relevance(data.test)
    scores = popularity(known) if row == "popularity" else known @ regression(torch.from_numpy(known), 200.0).numpy()
    found = rank(scores, known, wanted)
    assert tuple(found[name] for name in METRICS) == pytest.approx(published, abs=6e-5)
