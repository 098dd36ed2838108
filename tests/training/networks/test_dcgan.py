"""The convolutional pair: any size, independent samples, sound weights, and graphs that run elsewhere."""

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.networks.base import Task, parameter_count
from training.networks.dcgan import (
    Discriminator,
    DiscriminatorConfig,
    Generator,
    GeneratorConfig,
    TransposedConv,
    UpsampledConv,
    Upsampling,
    Widths,
    automatic_widths,
    halvings,
)

SHAPES = [(1, 28, 28), (3, 13, 9), (2, 4, 7)]


@settings(deadline=None, max_examples=25)
@given(
    channels=st.integers(1, 4),
    height=st.integers(4, 40),
    width=st.integers(4, 40),
    widths=st.one_of(st.just("auto"), st.lists(st.integers(1, 4), min_size=1, max_size=4).map(tuple)),
    depth=st.integers(0, 1),
    upsampling=st.sampled_from(["nearest", "transposed"]),
)
def test_a_pair_fits_any_size_and_channels(
    channels: int, height: int, width: int, widths: Widths, depth: int, upsampling: Upsampling
) -> None:
    shape = (channels, height, width)
    config = GeneratorConfig(latent_size=3, upsampling=upsampling, widths=widths, depth=depth)
    generator = Generator(config, Task(shape))
    discriminator = Discriminator(DiscriminatorConfig(widths=widths, depth=depth), Task(shape))
    samples = generator(torch.randn(2, 3))
    assert samples.shape == (2, *shape)
    assert discriminator(samples).shape == (2,)


def test_auto_halves_until_seven_pixels_are_left_and_widens_as_it_does() -> None:
    assert automatic_widths((28, 28)) == (32, 64, 128)
    assert halvings((28, 28), 2)[-1] == (7, 7)
    assert automatic_widths((224, 100)) == (32, 64, 128, 256, 256, 256)
    assert len(automatic_widths((4, 4))) == 2


@pytest.mark.parametrize("spectral", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_samples_logit_is_the_same_alone_and_in_a_batch(shape: tuple[int, int, int], spectral: bool) -> None:
    discriminator = Discriminator(DiscriminatorConfig(depth=1, spectral_norm=spectral), Task(shape)).eval()
    samples = torch.rand(7, *shape)
    together = discriminator(samples)
    alone = torch.cat([discriminator(sample[None]) for sample in samples])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_samples_stay_within_the_range_of_the_data(shape: tuple[int, int, int]) -> None:
    samples = Generator(GeneratorConfig(), Task(shape))(100 * torch.randn(4, 64))
    assert samples.abs().max() <= 1


@pytest.mark.parametrize("shape", SHAPES)
def test_every_pixel_counts_in_the_logit(shape: tuple[int, int, int]) -> None:
    image = torch.rand(1, *shape, requires_grad=True)
    (gradient,) = torch.autograd.grad(Discriminator(DiscriminatorConfig(), Task(shape))(image).sum(), image)
    assert (gradient != 0).all()


@pytest.mark.parametrize("norm", ["batch", "none"])
def test_without_normalisation_there_is_no_batch_statistic(norm: str) -> None:
    generator = Generator(GeneratorConfig(norm="batch" if norm == "batch" else "none"), Task((1, 8, 8)))
    assert any(isinstance(module, nn.BatchNorm2d) for module in generator.modules()) == (norm == "batch")


@pytest.mark.parametrize("activation", ["relu", "leaky_relu"])
def test_the_activation_is_the_one_asked_for(activation: str) -> None:
    config = GeneratorConfig(activation="relu" if activation == "relu" else "leaky_relu")
    found = {type(module) for module in Generator(config, Task((1, 8, 8))).modules()} & {nn.ReLU, nn.LeakyReLU}
    assert found == {nn.ReLU if activation == "relu" else nn.LeakyReLU}


def test_spectral_norm_leaves_no_weight_with_a_singular_value_above_one() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(depth=1, spectral_norm=True), Task((1, 12, 12)))
    for _ in range(200):  # power iterations
        discriminator(torch.rand(1, 1, 12, 12))
    discriminator.eval()
    for module in discriminator.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            assert torch.linalg.matrix_norm(module.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-2)


def test_residual_blocks_start_as_the_identity() -> None:
    torch.manual_seed(0)
    deep = Discriminator(DiscriminatorConfig(widths=(4, 8), depth=2), Task((1, 8, 8)))
    shallow = Discriminator(DiscriminatorConfig(widths=(4, 8)), Task((1, 8, 8)))
    trunk = [module for module in deep.layers if isinstance(module, nn.Conv2d | nn.Linear)]
    for ours, theirs in zip([m for m in shallow.layers if isinstance(m, nn.Conv2d | nn.Linear)], trunk, strict=True):
        ours.load_state_dict(theirs.state_dict())
    shallow.last.load_state_dict(deep.last.state_dict())
    images = torch.rand(3, 1, 8, 8)
    assert torch.equal(deep(images), shallow(images))


@pytest.mark.parametrize("odd", [False, True])
def test_the_transposed_convolution_is_the_convolution_of_the_doubled_map(odd: bool) -> None:
    torch.manual_seed(0)
    layer, weight = UpsampledConv(3, 5, (10 - odd, 14 - odd), bias=True), torch.randn(5, 3, 3, 3)
    layer.load_state_dict({"parametrizations.weight.original": weight, "bias": torch.randn(5)})
    coarse = torch.randn(2, 3, 5, 7)
    doubled = nn.functional.interpolate(coarse, scale_factor=2, mode="nearest")
    expected = nn.functional.conv2d(doubled, weight, layer.bias, padding=1)[:, :, : 10 - odd, : 14 - odd]
    assert torch.allclose(layer(coarse), expected, atol=1e-5)


def test_dcgans_own_generator_makes_the_image_from_the_map_of_half_its_size() -> None:
    generator = Generator(GeneratorConfig(upsampling="transposed", widths=(6, 4)), Task((3, 28, 28)))
    layers = [module for module in generator.modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)]
    assert [(type(layer), layer.in_channels, layer.out_channels) for layer in layers] == [
        (TransposedConv, 6, 4),
        (TransposedConv, 4, 3),
    ]
    assert generator.first.out_features == 6 * 7 * 7


def test_behind_a_dense_layer_the_coarsest_map_is_normalised_unit_by_unit() -> None:
    generator = Generator(GeneratorConfig(widths=(6, 4), dense=5), Task((1, 8, 8)))
    units = [module.num_features for module in generator.modules() if isinstance(module, nn.BatchNorm1d)]
    assert units == [5, 6 * 4 * 4]


def test_the_discriminators_rectifiers_leak_as_much_as_asked() -> None:
    config = DiscriminatorConfig(widths=(4, 8), depth=1, dense=6, leaky_slope=0.1)
    discriminator = Discriminator(config, Task((1, 8, 8), joint_size=2))
    slopes = [module.negative_slope for module in discriminator.modules() if isinstance(module, nn.LeakyReLU)]
    assert set(slopes) == {0.1}
    assert len(slopes) == 2 + 2 + 2


@pytest.mark.parametrize("depth", [0, 3])
def test_signals_keep_their_scale_through_a_fresh_discriminator(depth: int) -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(depth=depth), Task((1, 32, 32)))
    logits = discriminator(torch.randn(128, 1, 32, 32))
    assert 0.3 < logits.std().item() < 3


def test_a_class_moves_the_sample_and_the_logit_of_its_own_row_alone() -> None:
    task = Task((1, 8, 8), classes=3)
    generator = Generator(GeneratorConfig(latent_size=4, conditional=True), task).eval()
    discriminator = Discriminator(DiscriminatorConfig(), task)
    latents, labels, others = torch.randn(3, 4), torch.tensor([0, 1, 2]), torch.tensor([0, 2, 2])
    samples, changed = generator(latents, labels), generator(latents, others)
    assert [torch.equal(a, b) for a, b in zip(samples, changed, strict=True)] == [True, False, True]
    logits, asked = discriminator(samples, labels), discriminator(samples, others)
    assert (logits == asked).tolist() == [True, False, True]


def test_a_conditional_logit_is_a_plain_one_plus_the_features_projected_on_the_class() -> None:
    discriminator = Discriminator(DiscriminatorConfig(), Task((1, 8, 8), classes=3))
    samples, labels = torch.randn(4, 1, 8, 8), torch.tensor([2, 0, 1, 2])
    features = discriminator.features(samples)
    assert discriminator.classes is not None
    by_hand = discriminator.last(features).squeeze(1) + (discriminator.classes(labels) * features).sum(1)
    assert torch.allclose(discriminator(samples, labels), by_hand, atol=1e-6)


def test_a_pack_is_judged_as_one_and_no_other_packs_logit_moves() -> None:
    discriminator = Discriminator(DiscriminatorConfig(pack=2), Task((1, 8, 8), pack=2))
    samples = torch.randn(6, 1, 8, 8)
    changed = samples.clone()
    changed[3] = 0
    assert discriminator(samples).shape == (3,)
    assert torch.isclose(discriminator(samples), discriminator(changed)).tolist() == [True, False, True]


def test_a_pair_of_a_sample_and_a_latent_is_judged_by_both() -> None:
    discriminator = Discriminator(DiscriminatorConfig(), Task((1, 8, 8), joint_size=5))
    samples, latents = torch.randn(2, 1, 8, 8), torch.randn(2, 5)
    logits = discriminator(samples, latents)
    assert logits.shape == (2,)
    assert not torch.isclose(logits, discriminator(samples.flip(0), latents)).any()
    assert not torch.isclose(logits, discriminator(samples, latents.flip(0))).any()


def test_codes_reach_the_generator_beside_the_latents() -> None:
    generator = Generator(GeneratorConfig(latent_size=4), Task((1, 8, 8), code_size=3)).eval()
    latents = torch.randn(2, 4)
    plain, coded = generator(latents, torch.zeros(2, 3)), generator(latents, torch.eye(3)[:2])
    assert plain.shape == (2, 1, 8, 8)
    assert not torch.allclose(plain, coded)


def test_a_dense_layer_stands_on_the_far_side_of_the_coarsest_map_of_either_player() -> None:
    generator = Generator(GeneratorConfig(latent_size=4, widths=(8, 4), dense=12), Task((1, 8, 8), classes=3))
    discriminator = Discriminator(DiscriminatorConfig(widths=(4,), dense=12), Task((1, 8, 8)))
    assert generator.first.out_features == 12
    assert generator(torch.randn(5, 4), torch.arange(5) % 3).shape == (5, 1, 8, 8)
    assert discriminator.features(torch.rand(5, 1, 8, 8)).shape == (5, 12) == (5, discriminator.feature_size)


def test_batch_normalisation_of_a_discriminator_leaves_out_the_first_layer_and_ends_with_training() -> None:
    torch.manual_seed(0)
    discriminator = Discriminator(DiscriminatorConfig(widths=(4, 8, 8), dense=12, norm="batch"), Task((1, 13, 16)))
    kinds = [type(module) for module in discriminator.layers if not isinstance(module, nn.ZeroPad2d)]
    assert kinds[:2] == [nn.Conv2d, nn.LeakyReLU]
    assert kinds.count(nn.BatchNorm2d) == 2
    assert kinds.count(nn.BatchNorm1d) == 1
    images = torch.rand(6, 1, 13, 16)
    together = discriminator(images)
    assert not torch.allclose(discriminator(images[:3]), together[:3], atol=1e-4)
    discriminator.eval()
    assert torch.allclose(discriminator(images[:3]), discriminator(images)[:3], atol=1e-6)


def test_parameters_are_counted() -> None:
    discriminator = Discriminator(DiscriminatorConfig(widths=(4,)), Task((1, 8, 8)))
    assert parameter_count(discriminator) == (16 * 4 + 4) + (4 * 4 * 4 + 1)


def through_onnx(network: nn.Module, example: torch.Tensor, others: list[torch.Tensor]) -> list[np.ndarray]:
    """Outputs of the exported graph, its batch dimension left open."""
    program = torch.onnx.export(
        network, (example,), dynamo=True, dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), verbose=False
    )
    assert program is not None
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return [session.run(None, {session.get_inputs()[0].name: other.numpy()})[0] for other in others]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # the exporter's own
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_an_odd_sized_pair_exports_to_a_graph_for_any_batch(player: str) -> None:
    shape = (3, 13, 9)
    network: nn.Module = Generator(GeneratorConfig(depth=1), Task(shape))
    sizes: tuple[int, ...] = (64,)
    if player == "discriminator":
        network, sizes = Discriminator(DiscriminatorConfig(depth=1), Task(shape)), shape
    network.eval()
    inputs = [torch.randn(count, *sizes) for count in (1, 3)]
    for ours, theirs in zip(inputs, through_onnx(network, torch.randn(2, *sizes), inputs), strict=True):
        assert np.abs(network(ours).detach().numpy() - theirs).max() < 1e-5
