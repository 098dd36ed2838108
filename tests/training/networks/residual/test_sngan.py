"""SNGAN's pair: the published sizes, any image, sound weights, and scores of single samples."""

import pytest
import torch
from torch import nn

from training.networks.base import Task, parameter_count
from training.networks.residual.sngan import (
    Discriminator,
    DiscriminatorConfig,
    DownBlock,
    Generator,
    GeneratorConfig,
    UpBlock,
    generator_widths,
)


# Counts of Mimicry's published networks of these sizes (`torch_mimicry/nets/sngan`), which reproduce the paper's.
@pytest.mark.parametrize(
    ("side", "generator", "discriminator"),
    [
        (32, 4_276_739, 1_053_825),
        (48, 4_878_083, 10_141_441),
        (64, 12_220_675, 10_141_441),
        (128, 32_150_787, 29_017_857),
    ],
)
def test_auto_has_as_many_parameters_as_the_published_networks(side: int, generator: int, discriminator: int) -> None:
    task = Task((3, side, side))
    with torch.device("meta"):
        made = Generator(GeneratorConfig(latent_size=128), task)
        judging = Discriminator(DiscriminatorConfig(spectral_norm=False), task)
    assert (parameter_count(made), parameter_count(judging)) == (generator, discriminator)


def narrow(shape: tuple[int, ...], spectral_norm: int = 1, **task: int) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    fit = Task(shape, **task)
    config = DiscriminatorConfig(widths=(8, 12), flat_blocks=1, spectral_norm=bool(spectral_norm), pack=fit.pack)
    return Generator(GeneratorConfig(latent_size=8, widths=(12, 8, 8)), fit), Discriminator(config, fit)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 9), (2, 4, 7)])
def test_a_pair_fits_any_size_and_its_samples_the_range(shape: tuple[int, int, int]) -> None:
    generator, discriminator = narrow(shape)
    samples = generator(100 * torch.randn(3, 8))
    assert samples.shape == (3, *shape)
    assert samples.abs().max() <= 1
    assert discriminator(samples).shape == (3,)


def test_auto_is_constant_for_small_images_and_doubles_with_each_halving_of_larger_ones() -> None:
    assert generator_widths((28, 28)) == (256, 256, 256)
    assert generator_widths((128, 128)) == (1024, 1024, 512, 256, 128, 64)


def test_the_image_block_has_no_rectifier_before_it_and_the_flat_ones_no_layer_at_the_skip() -> None:
    _, discriminator = narrow((3, 16, 16))
    blocks = [layer for layer in discriminator.layers if isinstance(layer, DownBlock)]
    assert [isinstance(block.branch[0], nn.ReLU) for block in blocks] == [False, True, True]
    assert [block.skip is None for block in blocks] == [False, False, True]


def test_a_doubling_block_is_the_sum_of_its_convolutions_of_doubled_maps() -> None:
    torch.manual_seed(0)
    block, x = UpBlock(6, 4, (9, 8)).eval(), torch.randn(2, 6, 5, 4)
    norm, _, doubling, between, _, last = block.branch
    kernel, bias = torch.randn(4, 6, 3, 3), torch.randn(4)
    doubling.load_state_dict({"parametrizations.weight.original": kernel, "bias": bias})

    def doubled(values: torch.Tensor) -> torch.Tensor:
        return nn.functional.interpolate(values, scale_factor=2)

    inside = nn.functional.conv2d(doubled(norm(x).relu()), kernel, bias, padding=1)[:, :, :9]
    expected = last(between(inside).relu()) + block.skip(doubled(x)[:, :, :9])
    assert torch.allclose(block(x), expected, atol=1e-4)


def test_spectral_norm_leaves_no_weight_with_a_singular_value_above_one() -> None:
    _, discriminator = narrow((3, 16, 16), classes=3)
    for _ in range(200):  # power iterations
        discriminator(torch.rand(1, 3, 16, 16), torch.zeros(1, dtype=torch.int64))
    discriminator.eval()
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize("task", [{}, {"classes": 3}, {"joint_size": 5}, {"pack": 2}], ids=str)
def test_a_logit_is_the_same_alone_and_in_a_batch(task: dict[str, int]) -> None:
    _, discriminator = narrow((3, 13, 16), **task)
    discriminator.eval()
    m = task.get("pack", 1)
    samples, told = torch.randn(6, 3, 13, 16), []
    if "joint_size" in task:
        told.append(torch.randn(6, 5))
    if "classes" in task:
        told.append(torch.tensor([0, 1, 2, 0, 1, 2]))
    together = discriminator(samples, *told)
    alone = [discriminator(samples[k : k + m], *(part[k : k + m] for part in told)) for k in range(0, 6, m)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_signals_keep_their_scale_through_a_fresh_pair() -> None:
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(latent_size=32, widths=(64, 64, 64)), Task((3, 16, 16)))
    before = generator.layers[:-1](generator.first(torch.randn(64, 32)))
    assert 0.3 < before.std().item() < 3
    _, discriminator = narrow((3, 16, 16), spectral_norm=0)
    through = nn.Sequential(*list(discriminator.layers)[:-1])(torch.randn(64, 3, 16, 16))
    assert 0.2 < through.std().item() < 3
