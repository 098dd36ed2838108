"""The trainer's speed against other training loops: samples a second for the same networks and losses.

    ganymede            the trainer's step
    R3GAN's trainer     its two functions in turn: penalties by double backward, gradients into all parameters
    DCGAN's tutorial    the same losses in the loop of PyTorch's tutorial: a DataLoader, Adam with its defaults

All optimise the relativistic objective with R1 and R2 on the shipped configuration's networks and average the
generator. The data are noise, because the time of a step does not depend on the pixels. All loops compute on the
trainer's device, and the clock is read when the device has finished. The loops alternate after a few steps, so that
slow phases of the machine affect all of them.

Shapes: B batch, Z latent, C H W channels, height and width.

References:
    Huang et al., The GAN is dead; long live the GAN! (R3GAN, 2024): Trainer.py of the published code.
    Inkawhich, DCGAN Tutorial (PyTorch, 2018): the training loop.
"""

import copy
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import torch
from accelerate import PartialState
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import results, workplace
from benchmarks.load import usage
from benchmarks.load.cells import FOREIGN_LIMIT
from benchmarks.results import Row
from training import config as configuration
from training import keys
from training.config import Config
from training.data.image_data import ImageData
from training.loop.captured import STEPS_BEFORE_REPLAY
from training.loop.trainer import Trainer
from training.state import players

CONFIG: Final = "conditional-mnist"
IMAGES: Final = 2048  # of the data set; more would only take memory
CLASSES: Final = 10
SHAPE: Final = (1, 28, 28)
SHAPE_OF_DIGITS: Final = (1, 8, 8)
WARM_UP_STEPS: Final = STEPS_BEFORE_REPLAY  # of every loop: a captured step is replayed from then on
AVERAGE_DECAY: Final = 0.999  # does not affect the time
BYTE_SCALE: Final = 127.5

Step = Callable[[], object]


@dataclass(frozen=True)
class Game:
    """Configuration, data and device of every loop.

    Attributes:
        data: noise with labels.
        device: that every loop computes on.
    """

    config: Config
    data: ImageData
    device: torch.device


@dataclass
class Pair:
    """Networks and optimizers of a plain loop; both networks as the trainer builds them."""

    generator: nn.Module
    critic: nn.Module
    average: nn.Module
    generator_optimizer: torch.optim.Optimizer
    critic_optimizer: torch.optim.Optimizer


def game(name: str = CONFIG, batch_size: int | None = None) -> Game:
    """A shipped configuration, on noise.

    Args:
        name: of a configuration for MNIST or the digits.
        batch_size: replaces the configuration's.
    """
    rng = np.random.default_rng(0)
    shape = SHAPE_OF_DIGITS if name.endswith("digits") else SHAPE
    images = rng.integers(0, 256, (IMAGES, *shape)).astype(np.uint8)
    labels = rng.integers(0, CLASSES, IMAGES)
    names = tuple(str(label) for label in range(CLASSES))
    data = ImageData("noise", images, images[:1], labels, labels[:1], names, "0" * 64, "none")
    config = configuration.load(keys.find(name))
    if batch_size is not None:
        config = replace(config, trainer=replace(config.trainer, batch_size=batch_size))
    return Game(config, data, PartialState().device)


def synchronise(device: torch.device) -> None:
    """Wait until the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def ours(played: Game) -> Step:
    """The trainer's step.

    Raises:
        RuntimeError: the trainer computes on another device than the other loops would.
    """
    trainer = Trainer(played.config, played.data)
    if trainer.device.type != played.device.type:
        raise RuntimeError(f"the trainer is on {trainer.device}, and the other loops would be on {played.device}")
    return trainer.step


def r3gan(played: Game) -> Step:
    """The loop of R3GAN's trainer, on tensors in the device's memory."""
    pair, gamma = _pair(played), _gamma(played.config)
    images, labels = (tensor.to(played.device) for tensor in _tensors(played.data))
    size, latent_size = played.config.trainer.batch_size, played.config.generator.latent_size

    def step() -> None:
        rows = torch.randint(len(images), (size,), device=images.device)
        real, told = images[rows], labels[rows]
        _descend_critic(pair, real, told, gamma, latent_size)
        _descend_generator(pair, real, told, latent_size)

    return step


def tutorial(played: Game) -> Step:
    """The loop of PyTorch's DCGAN tutorial, with the same losses."""
    pair, gamma = _pair(played), _gamma(played.config)
    size, latent_size = played.config.trainer.batch_size, played.config.generator.latent_size
    loader = DataLoader(TensorDataset(*_tensors(played.data)), batch_size=size, shuffle=True, drop_last=True)
    batches = _endless(loader)

    def step() -> tuple[float, float]:
        real, told = (tensor.to(played.device) for tensor in next(batches))
        critic_loss = _descend_critic(pair, real, told, gamma, latent_size)
        generator_loss = _descend_generator(pair, real, told, latent_size)
        return critic_loss.item(), generator_loss.item()  # the tutorial prints them

    return step


LOOPS: Final[Mapping[str, Callable[[Game], Step]]] = {
    "ganymede": ours,
    "R3GAN's trainer": r3gan,
    "DCGAN's tutorial": tutorial,
}


def measure(
    rounds: int, steps: int, played: Game | None = None, loops: Mapping[str, Callable[[Game], Step]] = LOOPS
) -> Iterator[Row]:
    """Run every loop in turn.

    Args:
        rounds: measurements of each loop.
        steps: of a loop in each round.
        played: None for `game()`.
        loops: name → function that makes its step.

    Yields:
        Samples a second, by the clock and by processor time.
    """
    played = played or game()
    ready = {name: begin(played) for name, begin in loops.items()}
    for step in ready.values():
        for _ in range(WARM_UP_STEPS):
            step()
        synchronise(played.device)
    samples = steps * played.config.trainer.batch_size
    for turn in range(rounds):
        for name, step in ready.items():
            before, cpu_s = usage.read(None), time.process_time()
            for _ in range(steps):
                step()
            synchronise(played.device)
            cpu_s = time.process_time() - cpu_s
            used = usage.between(before, usage.read(None), cpu_s)
            yield {
                "round": turn,
                "config": played.config.name,
                "loop": name,
                "samples_per_s": samples / used.wall_s,
                "samples_per_cpu_s": samples / cpu_s,
                "foreign_cores": used.foreign,
                "quiet": used.foreign <= FOREIGN_LIMIT,
            }


def _pair(played: Game) -> Pair:
    config = played.config
    torch.manual_seed(config.seed)
    built = players.build(config, players.task(config, played.data))
    generator, critic = built.generator.to(played.device), built.discriminator.to(played.device)
    pace = config.trainer

    def adam(network: nn.Module, rate: float) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=rate, betas=(pace.beta1, pace.beta2))

    optimizers = adam(generator, pace.learning_rate_generator), adam(critic, pace.learning_rate_discriminator)
    return Pair(generator, critic, copy.deepcopy(generator), *optimizers)


def _endless(loader: DataLoader[tuple[Tensor, ...]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Epoch after epoch."""
    while True:
        yield from ((real, told) for real, told in loader)


def _gamma(config: Config) -> float:
    objective = config.objective
    gamma: float = getattr(objective, "gamma_r1", 0.0)
    return gamma


def _tensors(data: ImageData) -> tuple[Tensor, Tensor]:
    """Images [N, C, H, W] in (−1, 1) as floats, and labels [N]."""
    assert data.train_labels is not None  # noqa: S101 - `game` makes them
    return torch.from_numpy(data.train / BYTE_SCALE - 1).float(), torch.from_numpy(data.train_labels)


def _penalty(samples: Tensor, logits: Tensor) -> Tensor:
    """|grad D|² of each sample, [B]."""
    (gradient,) = torch.autograd.grad(logits.sum(), samples, create_graph=True)
    return gradient.square().sum([1, 2, 3])


def _descend_critic(pair: Pair, real: Tensor, told: Tensor, gamma: float, latent_size: int) -> Tensor:
    pair.critic_optimizer.zero_grad()
    real = real.detach().requires_grad_()
    fake = pair.generator(torch.randn(len(real), latent_size, device=real.device), told).detach().requires_grad_()
    real_logits, fake_logits = pair.critic(real, told), pair.critic(fake, told)
    penalties = gamma / 2 * (_penalty(real, real_logits) + _penalty(fake, fake_logits))
    loss: Tensor = (softplus(fake_logits - real_logits) + penalties).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # not in torch's own types
    pair.critic_optimizer.step()
    return loss.detach()


def _descend_generator(pair: Pair, real: Tensor, told: Tensor, latent_size: int) -> Tensor:
    pair.generator_optimizer.zero_grad()
    fake = pair.generator(torch.randn(len(real), latent_size, device=real.device), told)
    loss: Tensor = softplus(pair.critic(real, told) - pair.critic(fake, told)).mean()
    loss.backward()  # type: ignore[no-untyped-call]  # not in torch's own types
    pair.generator_optimizer.step()
    with torch.no_grad():
        for kept, weight in zip(pair.average.parameters(), pair.generator.parameters(), strict=True):
            kept.mul_(AVERAGE_DECAY).add_(weight, alpha=1 - AVERAGE_DECAY)
    return loss.detach()


def main(arguments: list[str]) -> None:
    """Measure, and write."""
    parser = workplace.parser("training", __doc__)
    parser.add_argument("--threads", type=int, default=1, help="that torch may use")
    asked = parser.parse_args(arguments)
    torch.set_num_threads(asked.threads)
    rounds, steps = (1, 2) if asked.quick else (7, 10)
    rows = workplace.measured(measure(rounds, steps), "training loops", rounds * len(LOOPS))
    settings = {"rounds": rounds, "steps": steps, "threads": asked.threads, "device": str(PartialState().device)}
    sys.stdout.write(f"{results.write('training', settings, rows, workplace.folder(asked))}\n")
