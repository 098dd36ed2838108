"""The players of one game: which are trained together, and how an objective calls them.

    generator side   generator [, encoder]       one optimizer, averaged
    critic side      discriminator [, code head]  one optimizer

A side is called with its player's name, so that a wrapper (which synchronises several processes) sees every call. Which
players there are follows from the configuration; building them needs no data, only the task.

Shapes: see `training.objectives.base`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn

from training import networks
from training.data.interaction_data import InteractionData
from training.errors import ConfigError
from training.networks.base import Task
from training.networks.catalogue import ItemGenerator
from training.networks.code_head import CodeHead
from training.networks.encoder import Encoder
from training.objectives.base import Networks

if TYPE_CHECKING:
    from training.config import Config
    from training.data import Dataset

IMAGE_AXES: Final = 3  # channels, height and width
GENERATOR: Final = "generator"
DISCRIMINATOR: Final = "discriminator"
FEATURES: Final = "discriminator.features"
VERDICT: Final = "discriminator.verdict"
SCORES: Final = "generator.scores"
CHOICES: Final = "generator.choices"
ENCODER: Final = "encoder"
CODE_HEAD: Final = "code_head"


class Side(nn.Module):
    """Players that one optimizer trains."""

    def __init__(self, **players: nn.Module) -> None:
        super().__init__()
        self.players = nn.ModuleDict(players)

    def __getitem__(self, player: str) -> nn.Module:
        """The network of a player."""
        return self.players[player]

    def __contains__(self, player: str) -> bool:
        """Whether this game has such a player."""
        return player in self.players

    def forward(self, player: str, *inputs: Tensor) -> Tensor:
        """Call a player, or a method of one (`discriminator.features`)."""
        name, _, method = player.partition(".")
        network = self.players[name]
        result: Tensor = getattr(network, method)(*inputs) if method else network(*inputs)
        return result


@dataclass(frozen=True)
class Players:
    """Both sides of a game.

    Attributes:
        generator_side: the generator, and an encoder where there is one.
        critic_side: the discriminator, and a code head where there is one.
    """

    generator_side: Side
    critic_side: Side

    @property
    def generator(self) -> nn.Module:
        """The generator's network."""
        return self.generator_side[GENERATOR]

    @property
    def discriminator(self) -> nn.Module:
        """The discriminator's network."""
        return self.critic_side[DISCRIMINATOR]


def task(config: "Config", data: "Dataset") -> Task:
    """Describe what the networks of a run must fit.

    Raises:
        ConfigError: if the players need labels that the data does not have, or a part needs images and the data has
            none.
    """
    if len(data.sample_shape) != IMAGE_AXES:
        _refuse_what_needs_images(config, data.name)
    if config.generator.conditional and not data.classes:
        raise ConfigError(
            f"[generator] conditional needs labels, and {data.name} has none; a folder has them with "
            '[data] labels = "folders", where every class is a folder of its own'
        )
    return Task(
        sample_shape=data.sample_shape,
        items=data.items if isinstance(data, InteractionData) else 0,
        classes=data.classes if config.generator.conditional else 0,
        code_size=config.codes.size if config.codes is not None else 0,
        pack=config.discriminator.pack,
        joint_size=config.generator.latent_size if config.encoder is not None else 0,
    )


def _refuse_what_needs_images(config: "Config", name: str) -> None:
    for table, network in (("[generator]", config.generator), ("[discriminator]", config.discriminator)):
        if network.kind in networks.FOR_IMAGES:
            raise ConfigError(f'{table} of kind "{network.kind}" is for images, and {name} has none; try kind = "mlp"')
    if config.trainer.horizontal_flips:
        raise ConfigError(f"[trainer] horizontal_flips mirrors images, and {name} has none")
    if config.augmentation is not None:
        raise ConfigError(f"[augmentation] changes images, and {name} has none; leave the table out")
    if config.warps is not None:
        raise ConfigError(f"[objective] weight_steady warps images, and {name} has none; leave it at 0")


def build(config: "Config", fit: Task) -> Players:
    """Make the players of a configuration, with random weights.

    Returns:
        The players, on the CPU and in training mode.
    """
    generator, discriminator = (
        networks.generator(config.generator, fit),
        networks.discriminator(config.discriminator, fit),
    )
    generator_side, critic_side = {GENERATOR: generator}, {DISCRIMINATOR: discriminator}
    if config.encoder is not None:
        generator_side[ENCODER] = Encoder(config.encoder, fit, config.generator.latent_size)
    if config.codes is not None:
        critic_side[CODE_HEAD] = CodeHead(config.code_head, cast("int", discriminator.feature_size), config.codes)
    return Players(Side(**generator_side), Side(**critic_side))


def start_from(players: Players, data: "Dataset") -> None:
    """Store the items that users have taken in a generator of items, before the first step.

    Args:
        players: with random weights.
    """
    if isinstance(players.generator, ItemGenerator) and isinstance(data, InteractionData):
        players.generator.start_from(torch.from_numpy(data.relevance(data.pairs)))


def networks_of(
    generator_side: nn.Module,
    critic_side: nn.Module,
    augment: Callable[[Tensor], Tensor] | None = None,
    warp: Callable[[Tensor], Tensor] | None = None,
) -> Networks:
    """Make the functions through which an objective calls the players.

    Args:
        generator_side: a `Side`, or what wraps one.
        augment: applied to samples before the discriminator.

    Returns:
        The players as functions; calling one that this game lacks fails.
    """
    return Networks(
        generator=partial(generator_side, GENERATOR),
        discriminator=partial(critic_side, DISCRIMINATOR),
        features=partial(critic_side, FEATURES),
        verdict=partial(critic_side, VERDICT),
        encoder=partial(generator_side, ENCODER),
        code_head=partial(critic_side, CODE_HEAD),
        scores=partial(generator_side, SCORES),
        choices=partial(generator_side, CHOICES),
        warp=warp,
        augment=augment,
    )


@contextmanager
def frozen(network: nn.Module) -> Iterator[None]:
    """Exclude a network's weights from the gradient, which also saves computing it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
