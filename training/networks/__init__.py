"""Networks of the sizes that a configuration asks for; `GENERATORS` and `DISCRIMINATORS` list the kinds.

In: a `Task` and the keys of a kind. Out: torch modules.
May import codes, tables and errors; knows no objective, no optimizer and no files.
"""

from typing import Final, assert_never

from torch import nn

from training.networks import dcgan, factorization, item_item, mlp
from training.networks.base import Task
from training.networks.residual import r3gan, sngan

GeneratorConfig = (
    dcgan.GeneratorConfig
    | r3gan.GeneratorConfig
    | sngan.GeneratorConfig
    | mlp.GeneratorConfig
    | factorization.GeneratorConfig
    | item_item.GeneratorConfig
)
DiscriminatorConfig = (
    dcgan.DiscriminatorConfig
    | r3gan.DiscriminatorConfig
    | sngan.DiscriminatorConfig
    | mlp.DiscriminatorConfig
    | factorization.DiscriminatorConfig
)

GENERATORS: Final[dict[str, type[GeneratorConfig]]] = {
    kind.kind: kind
    for kind in (
        dcgan.GeneratorConfig,
        r3gan.GeneratorConfig,
        sngan.GeneratorConfig,
        mlp.GeneratorConfig,
        factorization.GeneratorConfig,
        item_item.GeneratorConfig,
    )
}
DISCRIMINATORS: Final[dict[str, type[DiscriminatorConfig]]] = {
    kind.kind: kind
    for kind in (
        dcgan.DiscriminatorConfig,
        r3gan.DiscriminatorConfig,
        sngan.DiscriminatorConfig,
        mlp.DiscriminatorConfig,
        factorization.DiscriminatorConfig,
    )
}
DEFAULT_KIND: Final = "dcgan"
FOR_IMAGES: Final = (DEFAULT_KIND, r3gan.GeneratorConfig.kind, sngan.GeneratorConfig.kind)


def generator(config: GeneratorConfig, task: Task) -> nn.Module:
    """Build the generator of a configuration, with random weights.

    Returns:
        A `GeneratorNetwork`.
    """
    match config:
        case dcgan.GeneratorConfig():
            return dcgan.Generator(config, task)
        case r3gan.GeneratorConfig():
            return r3gan.Generator(config, task)
        case sngan.GeneratorConfig():
            return sngan.Generator(config, task)
        case mlp.GeneratorConfig():
            return mlp.Generator(config, task)
        case factorization.GeneratorConfig():
            return factorization.Generator(config, task)
        case item_item.GeneratorConfig():
            return item_item.Generator(config, task)
        case _:
            assert_never(config)


def discriminator(config: DiscriminatorConfig, task: Task) -> nn.Module:
    """Build the discriminator of a configuration, with random weights.

    Returns:
        A `DiscriminatorNetwork`.
    """
    match config:
        case dcgan.DiscriminatorConfig():
            return dcgan.Discriminator(config, task)
        case r3gan.DiscriminatorConfig():
            return r3gan.Discriminator(config, task)
        case sngan.DiscriminatorConfig():
            return sngan.Discriminator(config, task)
        case mlp.DiscriminatorConfig():
            return mlp.Discriminator(config, task)
        case factorization.DiscriminatorConfig():
            return factorization.Discriminator(config, task)
        case _:
            assert_never(config)
