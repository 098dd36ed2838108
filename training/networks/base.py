"""What every network is built from: the task that it must fit, and the keys that all of its kind share.

A network is a torch module and knows no objective, no optimizer and no data. Its keywords in a configuration are a
frozen dataclass beside it; `training.networks` lists the kinds.

Shapes: B batch, Z latent, K classes or codes, F features, m samples that one logit judges together.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from training.tables import Range

Prior = Literal["standard_normal", "uniform", "gumbel"]


@dataclass(frozen=True)
class Task:
    """What the networks of a run must fit.

    Attributes:
        sample_shape: of one sample: C, H, W of an image, D of a vector, nothing for an item's number.
        items: I, how many items there are, where a sample is an item's number; 0 elsewhere.
        classes: K labels (or ids) of which both players are told one; 0 where they are told none.
        code_size: width of the codes that the generator is given beside its latents; 0 for none.
        pack: m.
        joint_size: Z where pairs of a sample and a latent are judged; 0 where samples are.
    """

    sample_shape: tuple[int, ...]
    items: int = 0
    classes: int = 0
    code_size: int = 0
    pack: int = 1
    joint_size: int = 0


@dataclass(frozen=True, kw_only=True)
class GeneratorKeys:
    """The keys of every `[generator]` table.

    Attributes:
        latent_size: Z.
        prior: of the latents: standard normal, uniform on (-1, 1), or standard Gumbel.
        conditional: whether both players are told the samples' labels.
    """

    latent_size: Annotated[int, Range(at_least=1)] = 64
    prior: Prior = "standard_normal"
    conditional: bool = False


@dataclass(frozen=True, kw_only=True)
class DiscriminatorKeys:
    """The keys of every `[discriminator]` table.

    Attributes:
        pack: m samples, all real or all generated, that one logit judges together; 1 is the usual game.
    """

    pack: Annotated[int, Range(at_least=1, at_most=16)] = 1


def packed(samples: Tensor, pack: int) -> Tensor:
    """Join every m samples into one of m times the channels.

    Args:
        samples: [B, C, ...], B a multiple of m.
        pack: m.

    Returns:
        [B / m, m C, ...]; rows i m to (i + 1) m make one.

    References:
        Lin et al., PacGAN: The power of two samples in generative adversarial networks (2018), section 1 and figure 1.
    """
    return samples if pack == 1 else samples.reshape(len(samples) // pack, -1, *samples.shape[2:])


def parameter_count(network: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
