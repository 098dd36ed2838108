"""Batch normalisation's statistics, made to fit averaged weights.

Averaging a generator's weights does not average what its layers put out, so the running means and variances that were
gathered in training belong to other networks than the one that is served. They are gathered anew with its own weights,
as plain averages over many batches.

Shapes: N rows.

References:
    Ioffe and Szegedy, Batch Normalization (2015), algorithm 2: population statistics for inference.
    Izmailov et al., Averaging Weights Leads to Wider Optima (2018), section 3.2: the same need for averaged weights.
"""

import torch
from torch import Tensor, nn

from training.progress import progress

Normalisation = nn.BatchNorm1d | nn.BatchNorm2d
BATCH = 512  # layers see each other's batch statistics while they are gathered; large ones are nearly the population's


def has_batch_statistics(network: nn.Module) -> bool:
    """Whether a network has any layer with running statistics."""
    return bool(_normalisations(network))


def reestimate(generator: nn.Module, *inputs: Tensor) -> None:
    """Replace the running statistics of every batch normalisation, in place; the network ends in evaluation mode.

    Args:
        generator: maps its inputs to samples.
        inputs: [N, ...] each: latents, and what else it is told; a last batch of one is not enough to have a variance
            and is left out.
    """
    layers = _normalisations(generator)
    momenta = [layer.momentum for layer in layers]
    generator.eval()  # dropout and the like stay as they are served
    for layer in layers:
        layer.reset_running_stats()
        layer.momentum = None  # torch's word for the plain average over batches
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
