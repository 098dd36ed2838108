"""Base of generators over a catalogue of items: draws by Gumbel noise, and the items that users have taken.

A generator has a score for every item and returns argmax(scores + Gumbel noise), which is a draw from their softmax: so
"an item for user u" is a deterministic function of the user and the latents, one latent an item. The argmax has no
gradient; an objective uses the generator's scores instead, and the items that a user is known to have taken, which are
set once before training.

Shapes: B batch, U users, I items.

References:
    Gumbel, Statistical Theory of Extreme Values and Some Practical Applications (1954).
    Maddison, Tarlow and Minka, A* Sampling (2014), section 2: the Gumbel-max trick.
"""

import torch
from torch import Tensor, nn

from training.errors import ConfigError
from training.networks.base import GeneratorKeys, Task


class ItemGenerator(nn.Module):
    """Gumbel latents [B, I] and users [B] to items [B].

    Args:
        task: items, and users as its classes.

    Raises:
        ConfigError: if the data has no items, or the latents are not one Gumbel number an item.
    """

    taken: Tensor

    def __init__(self, config: GeneratorKeys, task: Task) -> None:
        super().__init__()
        check_task(task, "[generator]")
        if config.prior != "gumbel" or config.latent_size != task.items:
            raise ConfigError(f'[generator] draws {task.items} items: set latent_size = {task.items}, prior = "gumbel"')
        self.latent_size = task.items
        self.sample_shape = task.sample_shape
        self.register_buffer("taken", torch.zeros(task.classes, task.items, dtype=torch.bool))

    def forward(self, latents: Tensor, users: Tensor) -> Tensor:
        """Draw one item for each user.

        Args:
            latents: [B, I], standard Gumbel; multiplied by T they draw at temperature T.
            users: [B].

        Returns:
            [B] int64 below I.
        """
        return (self.scores(users) + latents).argmax(1)

    def scores(self, users: Tensor) -> Tensor:
        """Unnormalised log-probabilities of all items.

        Args:
            users: [B].

        Returns:
            [B, I].
        """
        raise NotImplementedError

    def choices(self, users: Tensor) -> Tensor:
        """Items that users are known to have taken.

        Args:
            users: [B].

        Returns:
            [B, I] bool.
        """
        return self.taken[users]

    def start_from(self, taken: Tensor) -> None:
        """Store the items that users have taken.

        Args:
            taken: [U, I] bool, of the training pairs.
        """
        self.taken.copy_(taken)


def check_task(task: Task, table: str) -> None:
    """Make sure that a task is about users and items.

    Args:
        table: of the network that needs it, for the message.

    Raises:
        ConfigError: if it is not.
    """
    if not task.items:
        raise ConfigError(f"{table} is a network over items, but the data has none")
    if not task.classes:
        raise ConfigError("[generator] conditional must be true: both players need the user")
