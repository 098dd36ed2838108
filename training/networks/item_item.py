"""A generator over a linear item-item score: every item that a user has taken adds to the scores of the others.

    score(u, i) = sum over j != i that u has taken of weight[j, i], + bias i

Users enter only by the items they took, and no item adds to its own score, so a taken item has the score that it would
have if it had not been taken. The ridge regression of every item on all others is therefore a starting point in closed
form: with G = X^T X + ridge + p / (1 - p) diag(X^T X), P = G^-1,

    weight[j, i] = -P[j, i] / P[i, i]   (0 for j = i)

where p is the share of a user's items that is dropped at random from what should predict the others: on average over
the drops it only adds to the diagonal. The regression predicts 0 or 1 and not log-probabilities, so `sharpness` scales
it: the nats of a predicted 1.

Shapes: B batch, U users, I items; X [U, I] what users have taken.

References:
    Steck, Embarrassingly Shallow Autoencoders for Sparse Data (EASE, 2019), equations 5 to 8.
    Steck, Autoencoders that don't overfit towards the Identity (2020): drops in closed form.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from training.networks.base import GeneratorKeys, Task
from training.networks.catalogue import ItemGenerator
from training.tables import Range


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(GeneratorKeys):
    """The `[generator]` table of kind "item_item".

    Attributes:
        ridge: of the regression that training starts from.
        dropped: p, of the same.
        sharpness: nats that a predicted 1 is worth.
    """

    kind: ClassVar[str] = "item_item"

    ridge: Annotated[float, Range(above=0)] = 400.0
    dropped: Annotated[float, Range(at_least=0, below=1)] = 0.0
    sharpness: Annotated[float, Range(above=0)] = 6.0


class Generator(ItemGenerator):
    """Gumbel latents [B, I] and users [B] to items [B].

    Args:
        task: items, and users as its classes.

    Raises:
        ConfigError: as `ItemGenerator`.
    """

    off_diagonal: Tensor

    def __init__(self, config: GeneratorConfig, task: Task) -> None:
        super().__init__(config, task)
        self.config = config
        self.weights = nn.Parameter(torch.zeros(task.items, task.items))
        self.bias = nn.Parameter(torch.zeros(task.items))
        self.register_buffer("off_diagonal", ~torch.eye(task.items, dtype=torch.bool), persistent=False)

    def scores(self, users: Tensor) -> Tensor:
        """Unnormalised log-probabilities [B, I] of all items for users [B]."""
        # The diagonal is zero at the start and masked in training, so it stays zero.
        weights = self.weights * self.off_diagonal if self.training else self.weights
        return self.taken[users].to(weights.dtype) @ weights + self.bias

    def start_from(self, taken: Tensor) -> None:
        """Start from the ridge regression of what users have taken.

        Args:
            taken: [U, I] bool, of the training pairs.
        """
        super().start_from(taken)
        with torch.no_grad():
            self.weights.copy_(self.config.sharpness * regression(taken, self.config.ridge, self.config.dropped))


def regression(taken: Tensor, ridge: float, dropped: float = 0.0) -> Tensor:
    """The weights that predict each item from all others with the least square error.

    Args:
        taken: [U, I] bool.
        ridge: what is added to the diagonal of X^T X.
        dropped: p, in [0, 1).

    Returns:
        [I, I] float64, its diagonal 0; column i predicts item i.

    References:
        Steck (2019), equation 8.
    """
    counts = taken.double()
    gram = counts.T @ counts
    gram.diagonal().mul_(1 + dropped / (1 - dropped)).add_(ridge)
    inverse = torch.linalg.inv(gram)
    weights: Tensor = -inverse / inverse.diagonal()
    weights.fill_diagonal_(0)
    return weights
