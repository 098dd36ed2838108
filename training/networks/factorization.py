"""Matrix factorisation: a score is the product of a user's and an item's vector plus the item's bias.

    score(u, i) = <user u, item i> + bias i

Both players of IRGAN's recommendation experiments are of this kind. In a generator the scores are unnormalised
log-probabilities, in a discriminator the logits of relevance.

Shapes: B batch, U users, I items, D dimensions, F features.

References:
    Koren, Bell and Volinsky, Matrix Factorization Techniques for Recommender Systems (2009).
    Wang et al., IRGAN (2017), section 4.2.2.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from training.errors import ConfigError
from training.networks.base import DiscriminatorKeys, GeneratorKeys, Task
from training.networks.catalogue import ItemGenerator, check_task
from training.tables import Range

INITIAL_BOUND = 0.05  # vectors start uniform within plus or minus this, as IRGAN's do; biases start at zero


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig(GeneratorKeys):
    """The `[generator]` table of kind "factorization".

    Attributes:
        dimension: D.
    """

    kind: ClassVar[str] = "factorization"

    dimension: Annotated[int, Range(at_least=1)] = 5


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig(DiscriminatorKeys):
    """The `[discriminator]` table of kind "factorization".

    Attributes:
        dimension: D.
    """

    kind: ClassVar[str] = "factorization"

    dimension: Annotated[int, Range(at_least=1)] = 5


class Generator(ItemGenerator):
    """Gumbel latents [B, I] and users [B] to items [B].

    Args:
        task: items, and users as its classes.

    Raises:
        ConfigError: as `ItemGenerator`.
    """

    def __init__(self, config: GeneratorConfig, task: Task) -> None:
        super().__init__(config, task)
        self.users, self.items, self.bias = _factors(task, config.dimension)

    def scores(self, users: Tensor) -> Tensor:
        """Unnormalised log-probabilities [B, I] of all items for users [B]."""
        return self.users[users] @ self.items.T + self.bias


class Discriminator(nn.Module):
    """Items [B] and users [B] to logits [B] of relevance.

    Args:
        task: items, and users as its classes.

    Raises:
        ConfigError: if the data has no items, the users are not told, or several items should be judged together.
    """

    def __init__(self, config: DiscriminatorConfig, task: Task) -> None:
        super().__init__()
        check_task(task, "[discriminator]")
        if task.pack > 1:
            raise ConfigError("[discriminator] pack must be 1: a number of an item has no channels to join")
        self.users, self.items, self.bias = _factors(task, config.dimension)

    def forward(self, items: Tensor, users: Tensor) -> Tensor:
        """Judge pairs.

        Args:
            items: [B].
            users: [B].

        Returns:
            Logits [B]; positive means "rather relevant".
        """
        return (self.users[users] * self.items[items]).sum(1) + self.bias[items]


def _factors(task: Task, dimension: int) -> tuple[nn.Parameter, nn.Parameter, nn.Parameter]:
    """Vectors of users [U, D] and of items [I, D], and biases of items [I]."""
    users, items = (
        nn.Parameter(torch.empty(count, dimension).uniform_(-INITIAL_BOUND, INITIAL_BOUND))
        for count in (task.classes, task.items)
    )
    return users, items, nn.Parameter(torch.zeros(task.items))
