"""Q(c|x), the code head: reads the codes of a sample from the discriminator's features.

It shares the discriminator's layers up to the last one, so it adds one or two small layers. Its output holds the
parameters of a factorised distribution: logits of each categorical code, and the mean of each continuous one, whose
standard deviation is one.

Shapes: B batch, F features, K width of all codes together.

References:
    Chen et al., InfoGAN (2016), section 6 and appendix C.1: Q and D share all layers but the last; 128 units between.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from torch import Tensor, nn

from training.codes import Codes
from training.networks import weights
from training.networks.dcgan import LEAKY_SLOPE, LeakySlope
from training.networks.weights import InitialWeights
from training.tables import Range


@dataclass(frozen=True, kw_only=True)
class CodeHeadConfig:
    """The `[code_head]` table.

    Attributes:
        width: units between the discriminator's features and the codes; 0 reads them off the features linearly.
        norm: batch normalisation of these units, or none.
        leaky_slope: of their leaky ReLU below zero.
        initial_weights: of both layers; see `training.networks.weights`.
    """

    width: Annotated[int, Range(at_least=0)] = 128
    norm: Literal["batch", "none"] = "none"
    leaky_slope: LeakySlope = LEAKY_SLOPE
    initial_weights: InitialWeights = "he"


class CodeHead(nn.Module):
    """Features [B, F] to the parameters of Q [B, K].

    Args:
        feature_size: F.
    """

    def __init__(self, config: CodeHeadConfig, feature_size: int, codes: Codes) -> None:
        super().__init__()
        last = nn.Linear(config.width or feature_size, codes.size)
        self.layers = nn.Sequential(last)
        if config.width:
            first = nn.Linear(feature_size, config.width)
            weights.draw(first, config.initial_weights, config.leaky_slope)
            norm = [nn.BatchNorm1d(config.width)] if config.norm == "batch" else []
            self.layers = nn.Sequential(first, *norm, nn.LeakyReLU(config.leaky_slope), last)
        # Not zero: a generator that ignores a continuous code would have no gradient by it (a saddle point).
        weights.draw(last, config.initial_weights, None)

    def forward(self, features: Tensor) -> Tensor:
        """Read the codes.

        Args:
            features: [B, F] of the discriminator.

        Returns:
            [B, K]: logits of each categorical code, then means of the continuous ones.
        """
        parameters: Tensor = self.layers(features)
        return parameters
