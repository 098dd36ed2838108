"""The networks of a run as they are served: copies with final weights, wrapped in what their graphs compute besides.

    generator        averaged weights; quantises its images, so that every runtime sends the same bytes
    discriminator    one sample in, one logit out; a packed one gets copies of the sample, one of pairs the sample
                     with the latent that the encoder finds
    encoder          one sample in, its latent or its codes out

Copies are in evaluation mode, and every parametrized weight (spectral normalisation, a transposed convolution's kernel)
is replaced by its value. Batch normalisation after a transposed convolution is folded into its weights; after a plain
one, torch's exporter does that.

Shapes: B batch, m samples that one logit judges together, C H W channels, height and width.
"""

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from training.codes import Codes
from training.data.pixels import to_bytes
from training.export.graphs.interface import IMAGE_AXES
from training.progress import progress
from training.state.checkpoint import Run
from training.state.players import CODE_HEAD, ENCODER

Normalisation = nn.BatchNorm1d | nn.BatchNorm2d
BATCH = 512  # layers see the batch statistics of those before them while they are estimated, so batches are large


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether a network has any layer with running statistics."""
    return bool(_normalisations(network))


def reestimate(generator: nn.Module, *inputs: Tensor) -> None:
    """Replace the running statistics of every batch normalisation, in place; the network ends in evaluation mode.

    Args:
        inputs: [N, ...] each: latents and conditions; a last batch of one has no variance and is left out.
    """
    layers = _normalisations(generator)
    momenta = [layer.momentum for layer in layers]
    generator.eval()  # dropout and similar layers stay in evaluation mode
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # in torch, the plain average over batches
        layer.train()
    with torch.no_grad():
        batches = list(zip(*(torch.split(values, BATCH) for values in inputs), strict=True))
        for batch in progress(batches, "batch statistics", len(batches), "batch"):
            if len(batch[0]) > 1:
                generator(*batch)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum
    generator.eval()


def _normalisations(network: nn.Module) -> list[Normalisation]:
    return [module for module in network.modules() if isinstance(module, Normalisation) and module.track_running_stats]


class QuantisingGenerator(nn.Module):
    """A generator of images that also gives the bytes that are sent.

    Args:
        generator: latents (and conditions) to samples [B, C, H, W] in the range of `training.data.pixels`.
    """

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Samples, float32 [B, C, H, W], and pixels, uint8 [B, H, W, C]."""
        sample = self.generator(*inputs)
        return sample, to_bytes(sample).permute(0, 2, 3, 1)


class CopyingDiscriminator(nn.Module):
    """A packed discriminator that judges one sample, by m copies of it.

    Args:
        discriminator: samples [m B, ...] to logits [B].
        pack: m.
    """

    def __init__(self, discriminator: nn.Module, pack: int) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.pack = pack

    def forward(self, samples: Tensor) -> Tensor:
        """Samples [B, ...] to logits [B]."""
        copies = samples.unsqueeze(1).expand(-1, self.pack, *samples.shape[1:]).flatten(0, 1)
        logits: Tensor = self.discriminator(copies)
        return logits


class EncodingDiscriminator(nn.Module):
    """A discriminator of pairs that judges one sample, with the latent that an encoder finds for it.

    Args:
        discriminator: samples [B, ...] and latents [B, Z] to logits [B].
        encoder: samples [B, ...] to latents [B, Z].
    """

    def __init__(self, discriminator: nn.Module, encoder: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.encoder = encoder

    def forward(self, samples: Tensor) -> Tensor:
        """Samples [B, ...] to logits [B]."""
        logits: Tensor = self.discriminator(samples, self.encoder(samples))
        return logits


class CodeReader(nn.Module):
    """A code head with its discriminator: from a sample to the distribution of its codes.

    Args:
        code_head: features [B, F] to the codes' parameters [B, K].
    """

    def __init__(self, discriminator: nn.Module, code_head: nn.Module, codes: Codes) -> None:
        super().__init__()
        self.discriminator = discriminator
        self.code_head = code_head
        self.codes = codes

    def forward(self, samples: Tensor) -> Tensor:
        """Samples [B, ...] to [B, K]: probabilities of each categorical code, then means of the continuous ones."""
        features = cast("Callable[[Tensor], Tensor]", self.discriminator.features)
        logits, means = self.codes.split(self.code_head(features(samples)))
        return torch.cat([*(logit.softmax(dim=1) for logit in logits), means], dim=1)


def generator(run: Run) -> nn.Module:
    """Make the generator of a run's package.

    Args:
        run: with batch statistics of the averaged weights.

    Returns:
        Latents (and conditions) to samples, and to pixels where they are images.
    """
    network = plain(run.generator)
    return QuantisingGenerator(network) if len(run.task.sample_shape) == IMAGE_AXES else network


def discriminator(run: Run) -> nn.Module:
    """Make the discriminator of a run's package.

    Returns:
        Samples (and conditions) to logits, one each.
    """
    network, pack = plain(run.discriminator), run.task.pack
    if ENCODER in run.ema:
        return EncodingDiscriminator(network, plain(run.ema[ENCODER]))
    return network if pack == 1 else CopyingDiscriminator(network, pack)


def encoder(run: Run) -> nn.Module | None:
    """Make the encoder of a run's package.

    Args:
        run: with an encoder's batch statistics of the averaged weights.

    Returns:
        Samples to latents, or to codes where the game has a code head; else None.
    """
    if ENCODER in run.ema:
        return plain(run.ema[ENCODER])
    if run.config.codes is None:
        return None
    return plain(CodeReader(run.discriminator, run.players.critic_side[CODE_HEAD], run.config.codes))


def plain(network: nn.Module) -> nn.Module:
    """Copy a network as it is served: in evaluation mode, every parametrized weight replaced by its value.

    Returns:
        A network that computes the same.
    """
    final = copy.deepcopy(network).eval()
    for module in final.modules():
        if parametrize.is_parametrized(module):
            _fold_parametrizations(module)
    for module in final.modules():
        if isinstance(module, nn.Sequential):
            _fold_normalisation(module)
    return final.requires_grad_(False)


def _fold_parametrizations(module: nn.Module) -> None:
    """Replace weights by their values, for this module alone.

    torch's `remove_parametrizations` also removes the property from the module's class, which a copy shares with its
    original, so that the original would lose its weights.
    """
    values = {name: getattr(module, name).detach() for name in cast("nn.ModuleDict", module.parametrizations)}
    module.__class__ = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    for name, value in values.items():
        module.register_parameter(name, nn.Parameter(value))


def _fold_normalisation(layers: nn.Sequential) -> None:
    """Fold batch normalisation into the transposed convolutions before it."""
    for place, (layer, after) in enumerate(pairwise(list(layers))):
        if isinstance(layer, nn.ConvTranspose2d) and isinstance(after, nn.BatchNorm2d):
            layers[place] = fuse_conv_bn_eval(layer, after, transpose=True)
            layers[place + 1] = nn.Identity()
