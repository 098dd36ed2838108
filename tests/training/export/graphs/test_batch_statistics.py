"""Batch statistics of averaged weights: gathered anew, and right."""

import pytest
import torch
from torch import nn

from training.export.graphs.inference_networks import has_batch_statistics, reestimate

LATENTS = torch.randn(20_000, 5, generator=torch.Generator().manual_seed(0))


def linear_toy(*before: nn.Module) -> tuple[nn.Sequential, nn.BatchNorm1d]:
    """A toy whose statistics are known: of Wz + b with z ~ N(0, I) they are b and the squared norms of W's rows."""
    norm = nn.BatchNorm1d(3)
    network = nn.Sequential(*before, nn.Linear(5, 3), norm)
    network[-2].weight.data = torch.tensor([[2.0, 0, 0, 0, 0], [1.0, 1, 1, 1, 1], [0.1, 0, 0, 0.1, 0]])
    network[-2].bias.data = torch.tensor([5.0, 0, -1])
    norm.running_mean.fill_(7)  # type: ignore[union-attr]
    norm.running_var.fill_(7)  # type: ignore[union-attr]
    norm.num_batches_tracked.fill_(1_000)  # type: ignore[union-attr]
    return network, norm


def test_statistics_of_a_linear_layer_become_the_true_ones() -> None:
    network, norm = linear_toy()
    assert network.eval()(LATENTS).std(0).tolist() != pytest.approx([1, 1, 1], rel=0.02)
    reestimate(network, LATENTS)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.running_mean.tolist() == pytest.approx([5, 0, -1], abs=0.05)
    assert norm.running_var.tolist() == pytest.approx([4, 5, 0.02], rel=0.04)
    assert network(LATENTS).std(0).tolist() == pytest.approx([1, 1, 1], rel=0.02)


def test_every_batch_counts_alike() -> None:
    network, norm = linear_toy()
    drifting = torch.cat([torch.zeros(512, 5), torch.ones(512, 5)])
    reestimate(network, drifting)
    expected = network[:-1](drifting).mean(0)
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == pytest.approx(expected.tolist(), rel=1e-5)


def test_the_network_ends_in_evaluation_mode_with_its_former_momentum() -> None:
    network, norm = linear_toy()
    norm.momentum = 0.25
    reestimate(network.train(), LATENTS)
    assert norm.momentum == 0.25
    assert not any(module.training for module in network.modules())


def test_what_is_off_when_serving_is_off_when_gathering() -> None:
    network, norm = linear_toy(nn.Dropout(0.5))
    reestimate(network.train(), LATENTS)
    assert norm.running_var is not None
    assert norm.running_var.tolist() == pytest.approx([4, 5, 0.02], rel=0.04)


def test_a_last_batch_of_one_is_left_out() -> None:
    network, norm = linear_toy()
    reestimate(network, LATENTS[:513])
    assert norm.num_batches_tracked == 1


def test_a_network_without_statistics_is_known_as_one() -> None:
    assert has_batch_statistics(linear_toy()[0])
    assert not has_batch_statistics(nn.Sequential(nn.Linear(5, 3), nn.LayerNorm(3)))
    assert not has_batch_statistics(nn.BatchNorm1d(3, track_running_stats=False))
