"""How weights begin, and that it stays so through a parametrization."""

import pytest
import torch
from torch import nn

from training.codes import Codes
from training.networks import dcgan, weights
from training.networks.base import Task
from training.networks.code_head import CodeHead, CodeHeadConfig
from training.networks.dcgan import DiscriminatorConfig, GeneratorConfig, TransposedConv, UpsampledConv

FEATURES = 512
SLOPE = 0.2


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def test_he_keeps_the_scale_of_what_a_leaky_rectifier_passes_on() -> None:
    layer = nn.Linear(FEATURES, FEATURES)
    weights.draw(layer, "he", SLOPE)
    x = torch.randn(4096, FEATURES)
    passed = nn.functional.leaky_relu(layer(x), SLOPE)
    assert passed.square().mean().item() == pytest.approx(1, rel=0.03)


def test_he_keeps_the_scale_of_what_nothing_rectifies() -> None:
    layer = nn.Linear(FEATURES, FEATURES)
    weights.draw(layer, "he", None)
    assert layer(torch.randn(4096, FEATURES)).square().mean().item() == pytest.approx(1, rel=0.03)


def test_he_keeps_the_scale_through_a_transposed_convolution() -> None:
    layer = TransposedConv(64, 32, (32, 32), bias=True)
    weights.draw(layer, "he", None)
    inner = layer(torch.randn(16, 64, 16, 16))[:, :, 1:-1, 1:-1]  # fewer values come in at the border
    assert inner.square().mean().item() == pytest.approx(1, rel=0.05)


@pytest.mark.parametrize("layer", [nn.Linear(8, FEATURES), nn.Conv2d(32, 64, 4), nn.ConvTranspose2d(64, 32, 4)])
def test_dcgan_draws_every_weight_with_the_same_deviation_whatever_comes_in(layer: weights.Layer) -> None:
    weights.draw(layer, "dcgan", SLOPE)
    assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
    assert layer.bias is not None
    assert torch.count_nonzero(layer.bias) == 0


def test_what_is_learnt_of_an_upsampling_layer_is_drawn_and_not_what_follows_from_it() -> None:
    layer = UpsampledConv(64, 32, (8, 8), bias=True)
    weights.draw(layer, "dcgan", SLOPE)
    (learnt,) = (value for name, value in layer.named_parameters() if name != "bias")
    assert learnt.std().item() == pytest.approx(0.02, rel=0.05)
    # A kernel's inner values are sums of four weights, its corners of one.
    assert layer.weight[:, :, 1, 1].std().item() == pytest.approx(0.04, rel=0.05)
    assert layer.weight[:, :, 0, 0].std().item() == pytest.approx(0.02, rel=0.1)


def test_networks_draw_as_their_tables_say() -> None:
    task = Task(sample_shape=(1, 28, 28))
    players: list[nn.Module] = [
        dcgan.Generator(GeneratorConfig(latent_size=16, widths=(64, 32), initial_weights="dcgan"), task),
        dcgan.Discriminator(DiscriminatorConfig(widths=(32, 64), initial_weights="dcgan"), task),
        CodeHead(CodeHeadConfig(initial_weights="dcgan"), FEATURES, Codes(categorical={"digit": 10})).layers[0],
    ]
    drawn = [
        value
        for player in players
        for name, value in player.named_parameters()
        if value.dim() > 1 or name.endswith("original")
    ]
    assert len(drawn) == 3 + 3 + 1
    for value in drawn:
        assert value.std().item() == pytest.approx(0.02, rel=0.1)
