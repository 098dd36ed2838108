"""How the weights of convolutions and linear layers are drawn before training.

    he      normal, of variance gain^2 / fan-in: a rectifier's output has its input's scale, however deep the network
    dcgan   normal, of deviation 0.02, as DCGAN's and InfoGAN's authors did: small where few values come in, so that
            what is learnt soon outweighs what was drawn; it needs batch normalisation, which restores the scale

Biases start at zero. Where a weight is computed from another tensor (`torch.nn.utils.parametrize`), that one is drawn.

References:
    He et al., Delving Deep into Rectifiers (2015), equation 14.
    Radford, Metz and Chintala, Unsupervised Representation Learning with DCGAN (2016), section 4.
"""

import math
from typing import Final, Literal, cast

from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

InitialWeights = Literal["he", "dcgan"]
DCGAN_DEVIATION: Final = 0.02  # the authors' for every weight

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def draw(layer: Layer, how: InitialWeights, leaky_slope: float | None) -> None:
    """Draw a layer's weight, in place, and set its bias to zero.

    Args:
        leaky_slope: of the leaky ReLU behind the layer; None where nothing rectifies its output.
    """
    weight = _learnt(layer)
    if how == "dcgan":
        nn.init.normal_(weight, std=DCGAN_DEVIATION)
    else:
        gain = 1.0 if leaky_slope is None else nn.init.calculate_gain("leaky_relu", leaky_slope)
        nn.init.normal_(weight, std=gain / math.sqrt(_fan_in(layer, weight)))
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _learnt(layer: Layer) -> Tensor:
    """A layer's weight, or what it is computed from."""
    if is_parametrized(layer, "weight"):
        return cast("Tensor", cast("nn.ModuleDict", layer.parametrizations)["weight"].original)
    return layer.weight


def _fan_in(layer: Layer, learnt: Tensor) -> float:
    """Number of inputs to one output; of a transposed convolution, the mean over the positions of its stride."""
    if learnt is layer.weight and isinstance(layer, nn.ConvTranspose2d):
        return learnt[:, 0].numel() / math.prod(layer.stride)
    return learnt[0].numel()
