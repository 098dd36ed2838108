"""One step of the game: critic steps, a generator step, the moving average.

    critic_steps x [real, latents -> critic loss -> Adam]   fresh latents -> generator loss -> Adam -> average

With `parts` the batch of every loss is computed in as many parts, one after the other, and the gradients of their mean
are added up: one optimizer step at a part's memory. For losses that are means over samples this is the whole batch's
step up to rounding; batch normalisation sees a part at a time, spectral normalisation iterates once a part, and WGAN-GP
draws other points between the samples.

It takes everything that changes from step to step from its inputs and its values, keeps nothing on the CPU and never
waits for the device, so that a GPU can record it once and repeat it.
"""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.augmentation import Augmentation, SharedNumbers, WarpsConfig, warped
from training.objectives.base import TIMED_WEIGHTS, Batch, LossTerms, Objective
from training.state import players
from training.state.batches import AUGMENTATION, BETWEEN, WARPS, BatchStream
from training.state.inputs import Inputs, Request
from training.state.players import Players, Side

GENERATOR_RATE, CRITIC_RATE, NEW_SHARE = "generator's rate", "critic's rate", "new share of the average"


@dataclass(frozen=True)
class Values:
    """The numbers of a step that follow a schedule.

    Attributes:
        generator_rate: learning rate.
        critic_rate: learning rate.
        new_share: of the moving average, one less its decay.
        betas: Adam's, of the generator and of the critic; None leaves them as they are.
        weights: of the objective, by name, where they are scalars on the device.
    """

    generator_rate: float | Tensor
    critic_rate: float | Tensor
    new_share: float | Tensor
    betas: tuple[tuple[float, float], tuple[float, float]] | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict)


def scalars(inputs: Inputs, objective: Objective) -> Values:
    """Take the values of a step from its inputs, as scalars on the device."""

    def take(name: str) -> Tensor:
        return inputs.take(Request("scalar", name=name))

    weights = {name: take(name) for name in TIMED_WEIGHTS if getattr(objective, name, 0) > 0}
    return Values(take(GENERATOR_RATE), take(CRITIC_RATE), take(NEW_SHARE), weights=weights)


@dataclass(frozen=True)
class Step:
    """The step, with everything that it moves.

    Attributes:
        players: both sides.
        parallel_generator_side: the side, or what wraps it to synchronise processes.
        parallel_critic_side: the same of the critic.
        ema: the averaged generator side.
        stream: decodes the real samples.
        augmentation: of what the critic is shown, or None.
        warps: of objectives that use them, or None.
        critic_steps: for each of the generator's.
        batch_size: samples of all processes.
        parts: in how many the batch is computed.
        labelled: whether the players are told labels.
        coded: whether the generator is given codes.
        between: whether the critic's slope is looked at between the samples.
    """

    accelerator: Accelerator
    players: Players
    parallel_generator_side: nn.Module
    parallel_critic_side: nn.Module
    generator_optimizer: torch.optim.Optimizer
    critic_optimizer: torch.optim.Optimizer
    ema: Side
    stream: BatchStream
    augmentation: Augmentation | None
    warps: WarpsConfig | None
    critic_steps: int
    batch_size: int
    parts: int
    labelled: bool
    coded: bool
    between: bool

    def run(self, objective: Objective, inputs: Inputs, values: Values) -> dict[str, Tensor]:
        """Train the critic `critic_steps` times and the generator once.

        Args:
            objective: at this point of the run.

        Returns:
            The readings of the last critic step and of the generator's, scalars on the device.
        """
        for optimizer, rate in (
            (self.generator_optimizer, values.generator_rate),
            (self.critic_optimizer, values.critic_rate),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate
        if values.betas is not None:
            for optimizer, betas in zip((self.generator_optimizer, self.critic_optimizer), values.betas, strict=True):
                for group in optimizer.param_groups:
                    group["betas"] = betas
        for turn in range(self.critic_steps):
            batch = self._batch(inputs, turn, values.weights)
            critic = self._critic_step(objective, batch, inputs, turn)
        latents, codes = self._fresh(inputs, self.critic_steps)
        batch = replace(batch, latents=latents, codes=codes)
        generator = self._generator_step(objective, batch, inputs, self.critic_steps)
        self._average(values.new_share)
        return {**_named("critic", critic), **_named("generator", generator)}

    def _batch(self, inputs: Inputs, turn: int, weights: Mapping[str, Tensor]) -> Batch:
        stream, rows = self.stream, inputs.take(Request("rows", turn))
        stored = stream.stored(rows) if stream.on_device else inputs.take(Request("stored", turn))
        mirrored = inputs.take(Request("mirrored", turn)) if stream.horizontal_flips else None
        labels = stream.labels_of(rows) if self.labelled else None
        latents, codes = self._fresh(inputs, turn)
        between = inputs.numbers(turn, BETWEEN).uniform() if self.between else None
        return Batch(stream.decoded(stored, mirrored), latents, labels, codes, between, weights=weights)

    def _fresh(self, inputs: Inputs, turn: int) -> tuple[Tensor, Tensor | None]:
        """Latents, and codes where there are any."""
        return inputs.take(Request("latents", turn)), inputs.take(Request("codes", turn)) if self.coded else None

    def _critic_step(self, objective: Objective, batch: Batch, inputs: Inputs, turn: int) -> LossTerms:
        augment = self._augment(inputs, turn)
        warps = None if self.warps is None else SharedNumbers(inputs.numbers(turn, WARPS))

        def loss(rows: slice) -> LossTerms:
            warp = None
            if self.warps is not None and warps is not None:
                warp = partial(warped, config=self.warps, numbers=warps.rows(rows))
            nets = players.networks_of(self.players.generator_side, self.parallel_critic_side, augment(rows), warp)
            return objective.critic_loss(nets, _rows_of(batch, rows))

        terms = self._descend(loss, len(batch.latents), self.critic_optimizer, self.parallel_critic_side)
        if objective.weight_bound is not None:
            with torch.no_grad():
                for weight in self.players.critic_side.parameters():
                    weight.clamp_(-objective.weight_bound, objective.weight_bound)
        if self.augmentation is not None:
            self.augmentation.observe(self.accelerator.reduce(terms.parts["real_sign"], "mean"), self.batch_size)
        return terms

    def _generator_step(self, objective: Objective, batch: Batch, inputs: Inputs, turn: int) -> LossTerms:
        augment = self._augment(inputs, turn)

        def loss(rows: slice) -> LossTerms:
            # Not the parallel critic: its wrapper expects gradients from each use, and here there are none.
            nets = players.networks_of(self.parallel_generator_side, self.players.critic_side, augment(rows))
            return objective.generator_loss(nets, _rows_of(batch, rows))

        with players.frozen(self.players.critic_side):
            return self._descend(loss, len(batch.latents), self.generator_optimizer, self.parallel_generator_side)

    def _augment(self, inputs: Inputs, turn: int) -> "Callable[[slice], partial[Tensor] | None]":
        """The augmentation of one optimizer step, with its own random draw, for each part of the batch."""
        augmentation = self.augmentation
        if augmentation is None:
            return lambda _: None
        numbers = SharedNumbers(inputs.numbers(turn, AUGMENTATION))
        return lambda rows: partial(augmentation, numbers=numbers.rows(rows))

    def _descend(
        self, loss: Callable[[slice], LossTerms], samples: int, optimizer: torch.optim.Optimizer, side: nn.Module
    ) -> LossTerms:
        """Take one step down the mean of the losses of all parts of `samples` rows; returns the mean terms."""
        size = samples // self.parts
        optimizer.zero_grad()
        found = []
        for start in range(0, samples, size):
            is_last = start + size == samples  # processes add up their gradients once
            with nullcontext() if is_last else self.accelerator.no_sync(side):
                terms = loss(slice(start, start + size))
                self.accelerator.backward(terms.total if self.parts == 1 else terms.total / self.parts)
            found.append(LossTerms(terms.total.detach(), terms.parts))
        optimizer.step()
        return found[0] if self.parts == 1 else _mean(found)

    @torch.no_grad()
    def _average(self, new_share: float | Tensor) -> None:
        """Move the average towards the weights; buffers, such as batch statistics, are copied."""
        averaged: list[Tensor] = list(self.ema.parameters())
        trained: list[Tensor] = list(self.players.generator_side.parameters())
        # One call for all weights: on a GPU a kernel for many of them instead of one each.
        if isinstance(new_share, Tensor):
            torch._foreach_lerp_(averaged, trained, [new_share] * len(averaged))
        else:
            torch._foreach_lerp_(averaged, trained, new_share)
        if buffers := list(self.ema.buffers()):
            torch._foreach_copy_(buffers, list(self.players.generator_side.buffers()))


def _named(player: str, terms: LossTerms) -> dict[str, Tensor]:
    return {f"{player}/total": terms.total.detach(), **{f"{player}/{name}": part for name, part in terms.parts.items()}}


def _rows_of(batch: Batch, rows: slice) -> Batch:
    labels = None if batch.labels is None else batch.labels[rows]
    codes = None if batch.codes is None else batch.codes[rows]
    between = None if batch.between is None else batch.between[rows]
    real, latents = batch.real[rows], batch.latents[rows]
    return replace(batch, real=real, latents=latents, labels=labels, codes=codes, between=between)


def _mean(terms: list[LossTerms]) -> LossTerms:
    parts = {name: torch.stack([each.parts[name] for each in terms]).mean(0) for name in terms[0].parts}
    return LossTerms(torch.stack([each.total for each in terms]).mean(0), parts)
