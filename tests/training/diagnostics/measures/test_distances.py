"""Distances: Euclid's, and zero for what is repeated."""

import pytest
import torch

from training.diagnostics.measures.distances import distances, nearest, pair_distances

SAMPLES = torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]], [[0.0, 1.0]]])


def test_distances_are_euclids() -> None:
    assert distances(SAMPLES, SAMPLES[:1]).flatten().tolist() == [0.0, 5.0, 1.0]


def test_every_pair_is_counted_once() -> None:
    assert sorted(pair_distances(SAMPLES).tolist()) == pytest.approx([1.0, 18**0.5, 5.0])


def test_the_nearest_of_others_is_found() -> None:
    assert nearest(SAMPLES, SAMPLES[1:]).tolist() == [1.0, 0.0, 0.0]


def test_a_repeated_sample_far_from_the_origin_is_no_farther_than_rounding() -> None:
    image = torch.rand(1, 784, generator=torch.Generator().manual_seed(0)) * 100
    assert float(pair_distances(image.repeat(2, 1))) < 1e-4
