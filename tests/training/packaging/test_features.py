"""Features inside a graph: what its last layer is given."""

import numpy as np
import pytest
import torch
from torch import nn

from training.errors import ExportError
from training.packaging import graphs
from training.packaging.features import before_last_layer
from training.packaging.interface import Port
from training.packaging.runtime import Graph


def written(*layers: nn.Module) -> bytes:
    network = nn.Sequential(*layers).eval().requires_grad_(False)
    return graphs.write(network, (Port("sample", "FP32", (5,)),), (Port("latent", "FP32", (2,)),))


def test_the_graph_is_cut_where_its_last_layer_begins() -> None:
    torch.manual_seed(0)
    first, last = nn.Linear(5, 3), nn.Linear(3, 2)
    whole = written(first, nn.Tanh(), last)
    samples = np.random.default_rng(0).standard_normal((7, 5), dtype=np.float32)
    features = Graph(before_last_layer(whole, "features")).run({"sample": samples})
    assert list(features) == ["features"]
    by_hand = torch.tanh(first(torch.from_numpy(samples)))
    assert np.allclose(features["features"], by_hand.detach(), atol=1e-6)
    latents = features["features"].astype(np.float32) @ last.weight.detach().numpy().T + last.bias.detach().numpy()
    assert np.allclose(latents, Graph(whole).run({"sample": samples})["latent"], atol=1e-6)


def test_the_cut_graph_keeps_no_weight_of_the_last_layer() -> None:
    whole = written(nn.Linear(5, 3), nn.Tanh(), nn.Linear(3, 200), nn.Linear(200, 2))
    assert len(before_last_layer(whole, "features")) < len(whole) - 4 * 200


def test_a_graph_that_does_not_end_in_a_linear_layer_is_refused() -> None:
    with pytest.raises(ExportError, match="the graph ends in Tanh, not in the linear layer that features go into"):
        before_last_layer(written(nn.Linear(5, 2), nn.Tanh()), "features")
