"""The code head: what it says at first, and what it reads."""

import pytest
import torch

from training.codes import Codes
from training.networks.code_head import CodeHead, CodeHeadConfig

CODES = Codes(categorical={"digit": 10}, continuous={"slant": (-1.0, 1.0)})


@pytest.mark.parametrize("width", [0, 8])
def test_every_code_reaches_the_features_and_every_layer_learns_from_the_first_step(width: int) -> None:
    head = CodeHead(CodeHeadConfig(width=width), 6, CODES)
    features = torch.randn(4, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    parameters = head(features)
    assert parameters.shape == (4, CODES.size)
    for code in parameters.sum(0):
        (slope,) = torch.autograd.grad(code, features, retain_graph=True)
        assert slope.any()
    torch.autograd.backward(parameters.square().sum())
    assert all(weight.grad is not None and weight.grad.any() for weight in head.parameters())


def test_without_a_width_it_is_linear_in_the_features() -> None:
    assert len(list(CodeHead(CodeHeadConfig(width=0), 6, CODES).parameters())) == 2
    assert len(list(CodeHead(CodeHeadConfig(width=8), 6, CODES).parameters())) == 4


def test_its_units_can_be_normalised_over_the_batch_while_it_trains() -> None:
    for config, layers in ((CodeHeadConfig(width=8, norm="batch"), 1), (CodeHeadConfig(width=8), 0)):
        head = CodeHead(config, 6, CODES)
        assert sum(isinstance(module, torch.nn.BatchNorm1d) for module in head.modules()) == layers
