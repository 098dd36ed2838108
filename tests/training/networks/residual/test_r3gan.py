"""R3GAN's pair: the authors' sizes, an identity at first, a receptive field and variances by hand, and its refusals."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

from training.errors import ConfigError
from training.networks.base import Task, parameter_count
from training.networks.residual.r3gan import (
    Block,
    Discriminator,
    DiscriminatorConfig,
    Down,
    Generator,
    GeneratorConfig,
    Up,
    automatic_widths,
)

NARROW = (24, 16, 8)  # from the coarsest map to full resolution


def pair(shape: tuple[int, ...], **task: int) -> tuple[Generator, Discriminator]:
    torch.manual_seed(0)
    fit = Task(shape, **task)
    made = GeneratorConfig(latent_size=8, widths=NARROW, blocks=1, group_width=8)
    judging = DiscriminatorConfig(widths=NARROW[::-1], blocks=1, group_width=8, pack=fit.pack)
    return Generator(made, fit), Discriminator(judging, fit)


def convolutions(block: Block) -> list[nn.Conv2d]:
    return [layer for layer in block.branch if isinstance(layer, nn.Conv2d)]


def trained(network: nn.Module) -> nn.Module:
    """The network with branches that are not zero."""
    for block in network.modules():
        if isinstance(block, Block):
            nn.init.normal_(convolutions(block)[2].weight, std=0.1)
    return network


# Counts of the networks that the authors' published code makes for these presets without classes (`train.py`, 2025).
@pytest.mark.parametrize(
    ("side", "widest", "group_width", "generator", "discriminator"),
    [
        (32, 768, 16, 20_732_160, 20_683_776),  # CIFAR10
        (64, 768, 16, 22_429_824, 22_381_440),  # FFHQ-64
        (256, 768, 16, 23_057_952, 23_009_568),  # FFHQ-256
        (32, 1_536, 32, 82_752_000, 82_655_232),  # ImageNet-32
    ],
)
def test_auto_has_as_many_parameters_as_the_authors_code(
    side: int, widest: int, group_width: int, generator: int, discriminator: int
) -> None:
    task = Task((3, side, side))
    with torch.device("meta"):
        made = Generator(GeneratorConfig(widest=widest, group_width=group_width), task)
        judging = Discriminator(DiscriminatorConfig(widest=widest, group_width=group_width), task)
    assert (parameter_count(made), parameter_count(judging)) == (generator, discriminator)


@pytest.mark.parametrize(
    ("size", "widths"),
    [
        ((16, 16), (64, 64, 64)),
        ((28, 28), (64, 64, 64, 64)),
        ((32, 32), (64, 64, 64, 64)),
        ((64, 40), (64, 64, 64, 64, 32)),
        ((256, 256), (64, 64, 64, 64, 32, 16, 8)),
    ],
)
def test_auto_halves_to_four_pixels_and_narrows_beyond_thirty_two(size: tuple[int, int], widths: tuple[int]) -> None:
    assert automatic_widths(size, 64) == widths


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 13, 9), (2, 4, 7)])
def test_a_pair_fits_any_size_and_channels(shape: tuple[int, int, int]) -> None:
    generator, discriminator = pair(shape)
    samples = generator(torch.randn(2, 8))
    assert samples.shape == (2, *shape)
    assert discriminator(samples).shape == (2,)


def test_a_fresh_network_is_its_skip_connections() -> None:
    generator, discriminator = pair((3, 16, 16))
    latents, images = torch.randn(4, 8), torch.randn(4, 3, 16, 16)
    fresh = generator(latents), discriminator(images)
    for player in (generator, discriminator):
        for stage in (player.layers, *(layer for layer in player.layers if isinstance(layer, nn.Sequential))):
            for name, layer in list(stage.named_children()):
                if isinstance(layer, Block):
                    setattr(stage, name, nn.Identity())
    assert torch.equal(fresh[0], generator(latents))
    assert torch.equal(fresh[1], discriminator(images))


def test_each_layer_of_a_branch_has_fixups_scale() -> None:
    torch.manual_seed(0)
    network = Generator(GeneratorConfig(latent_size=4, widths=(128, 128, 128), blocks=3), Task((3, 16, 16)))
    block = next(module for module in network.modules() if isinstance(module, Block))
    blocks = sum(isinstance(module, Block) for module in network.modules())
    assert blocks == 9
    gain = math.sqrt(2 / (1 + 0.2**2)) * blocks ** (-1 / 4)
    first, second, last = convolutions(block)
    for layer, inputs in ((first, 128), (second, 16 * 9)):
        assert layer.weight.std().item() == pytest.approx(gain / math.sqrt(inputs), rel=0.03)
    assert last.weight.abs().max() == 0


def test_a_fresh_pair_keeps_the_variance_of_its_input() -> None:
    torch.manual_seed(0)
    generator = Generator(GeneratorConfig(latent_size=32, widths=(128, 128, 64), blocks=1), Task((3, 16, 16)))
    for layer in generator.modules():
        if isinstance(layer, Up):
            layer.kernel[:, :, 1:3, 1:3], layer.kernel[:, :, [0, -1]], layer.kernel[..., [0, -1]] = (
                1,
                0,
                0,
            )  # repeats pixels
    assert generator(torch.randn(256, 32)).std().item() == pytest.approx(1, rel=0.15)
    discriminator = Discriminator(DiscriminatorConfig(widths=(64, 128, 128), blocks=1), Task((3, 16, 16)))
    even = torch.randn(256, 3, 1, 1).expand(-1, -1, 16, 16)  # without anything that an average could remove
    inside = discriminator.features(even)
    assert 0.5 < inside.std().item() < 1.5


def test_a_logit_sees_as_far_as_kernels_and_strides_say() -> None:
    side, blocks = 64, 2
    config = DiscriminatorConfig(widths=(8, 8, 8), blocks=blocks, group_width=8)
    discriminator = trained(Discriminator(config, Task((1, side, side))))
    assert isinstance(discriminator, Discriminator)
    seen = torch.randn(1, 1, side, side, requires_grad=True)
    x: Tensor = seen
    for layer in list(discriminator.layers)[:-1]:
        x = layer(x)
    (gradient,) = torch.autograd.grad(x[0, :, 8, 8].sum(), seen)
    touched = (gradient[0, 0] != 0).nonzero()
    reach = 1
    for _ in range(2):
        reach = (
            2 * (reach - 1) + 4 + 2 * blocks
        )  # a filter of four taps and stride two; each block sees one more beside
    assert [int(touched[:, axis].max() - touched[:, axis].min()) + 1 for axis in range(2)] == [reach, reach]


def test_doubling_is_bilinear_and_halving_its_transpose() -> None:
    coarse, fine = torch.randn(2, 3, 6, 7), torch.randn(2, 3, 12, 14)
    up, down = Up(3, (12, 14)), Down(3, (12, 14))
    expected = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    assert torch.allclose(up(coarse)[:, :, 1:-1, 1:-1], expected[:, :, 1:-1, 1:-1], atol=1e-6)
    assert (up(coarse) * fine).sum().item() == pytest.approx(4 * (coarse * down(fine)).sum().item(), rel=1e-4)


@pytest.mark.parametrize("task", [{}, {"classes": 3}, {"joint_size": 5}, {"pack": 2}], ids=str)
def test_a_logit_is_the_same_alone_and_in_a_batch(task: dict[str, int]) -> None:
    _, discriminator = pair((3, 13, 16), **task)
    trained(discriminator)
    m = task.get("pack", 1)
    samples, told = torch.randn(6, 3, 13, 16), []
    if "joint_size" in task:
        told.append(torch.randn(6, 5))
    if "classes" in task:
        told.append(torch.tensor([0, 1, 2, 0, 1, 2]))
    together = discriminator(samples, *told)
    alone = [discriminator(samples[k : k + m], *(part[k : k + m] for part in told)) for k in range(0, 6, m)]
    assert together.shape == (6 // m,)
    assert torch.allclose(together, torch.cat(alone), atol=1e-5)


def test_a_class_moves_the_sample_and_the_logit_of_its_own_row_alone() -> None:
    generator, discriminator = pair((1, 8, 8), classes=3)
    latents, labels, others = torch.randn(3, 8), torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2])
    samples, changed = generator(latents, labels), generator(latents, others)
    assert [torch.equal(a, b) for a, b in zip(samples, changed, strict=True)] == [True, False, True]
    assert (discriminator(samples, labels) == discriminator(samples, others)).tolist() == [True, False, True]


def test_codes_reach_the_generator_beside_the_latents() -> None:
    generator, _ = pair((1, 8, 8), code_size=3)
    latents = torch.randn(2, 8)
    assert not torch.allclose(generator(latents, torch.zeros(2, 3)), generator(latents, torch.eye(3)[:2]))


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_in_half_precision_the_coarsest_stage_and_the_logit_stay_single(half: torch.dtype) -> None:
    generator, discriminator = pair((3, 16, 16))
    kinds: dict[str, set[torch.dtype]] = {}

    def watch(name: str, layer: nn.Module) -> None:
        layer.register_forward_hook(lambda _module, _inputs, output: kinds.setdefault(name, set()).add(output.dtype))

    watch("first", generator.first)
    for name, player in (("generator", generator), ("discriminator", discriminator)):
        for place, layer in enumerate(player.layers):
            watch(f"{name} {place}", layer)
    with torch.autocast("cpu", dtype=half):
        logits = discriminator(generator(torch.randn(2, 8)))
    assert logits.dtype == torch.float32
    last = len(discriminator.layers) - 1
    single = {name for name, found in kinds.items() if found == {torch.float32}}
    assert single == {"first", "generator 0", f"discriminator {last}"}


def test_its_penalties_can_be_differentiated_again() -> None:
    _, discriminator = pair((3, 16, 16))
    trained(discriminator)
    images = torch.randn(2, 3, 16, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(discriminator(images).sum(), images, create_graph=True)
    torch.autograd.backward(gradient.square().sum())
    blocks = [module for module in discriminator.modules() if isinstance(module, Block)]
    gradients = [convolutions(block)[0].weight.grad for block in blocks]
    assert all(found is not None and found.any() for found in gradients)


def test_channels_that_do_not_divide_into_groups_are_refused() -> None:
    sentence = 'kind = "r3gan": 20 channels times expansion 2 do not divide into groups of group_width 16; '
    with pytest.raises(ConfigError, match=sentence):
        Generator(GeneratorConfig(widths=(32, 20)), Task((3, 8, 8)))


def test_widths_run_from_coarse_to_fine_in_one_player_and_back_in_the_other() -> None:
    generator, discriminator = pair((3, 16, 16))
    made = [convolutions(block)[0].in_channels for block in generator.modules() if isinstance(block, Block)]
    judged = [convolutions(block)[0].in_channels for block in discriminator.modules() if isinstance(block, Block)]
    assert made == list(NARROW)
    assert judged == made[::-1]
    steps = [layer.height for layer in generator.layers if isinstance(layer, Up)]
    assert all(coarse < fine for coarse, fine in pairwise(steps))
