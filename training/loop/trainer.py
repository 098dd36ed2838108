"""The training step: critic steps, a generator step, the moving average; and the state that a checkpoint keeps.

    step   critic_steps x [real, latents -> critic loss -> Adam]   fresh latents -> generator loss -> Adam -> average

A side's other players (an encoder, a code head) are trained and averaged with it. A run is a function of its
configuration, its data and the number of samples seen, so a resumed run computes what an uninterrupted one does (bit
for bit on a CPU with the same number of threads, and with `deterministic` on one GPU). Each process computes its part
of the same global batch; Accelerate averages the gradients.
"""

import copy
import dataclasses
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Final, cast

import torch
from torch import Tensor

from training import augmentation
from training import config as configuration
from training.augmentation import RandomNumbers, warped
from training.config import Config
from training.data.image_data import Dataset
from training.errors import DivergenceError
from training.evaluation.pictures import classes_shown, samples_wanted
from training.loop import machine
from training.loop.setup import (
    build_accelerator,
    build_optimizer,
    global_generators,
    part_of_batch,
    restore_global_generators,
    seed_global_generators,
)
from training.networks.batch_statistics import shared_statistics
from training.objectives.base import Batch, LossTerms, Objective
from training.schedule import cosine, ema_decay, lazy_correction
from training.state import checkpoint, players
from training.state.batches import (
    AUGMENTATION,
    CODES,
    GRID,
    GRID_CODES,
    WARPS,
    BatchStream,
    codes,
    latents,
    random_stream,
)
from training.state.checkpoint import Checkpoint, TrainerState
from training.state.history import Event
from training.state.players import Players, Side

DIVERGED_ADVICE: Final = "earlier checkpoints are kept; try lower learning rates, or higher gamma_r1 and gamma_r2"
ROLLBACK_RATE_FACTOR: Final = 0.5  # of both learning rates

Augment = Callable[[Tensor], Tensor]


class Trainer:
    """The state of a run and the step that advances it.

    Raises:
        ConfigError: if the precision does not exist on this machine, or the batch does not divide by the processes.
    """

    def __init__(self, config: Config, data: Dataset) -> None:
        self.config = config
        self.data = data
        self.samples_seen = 0
        machine.choose_arithmetic(config.trainer)
        self._accelerator = build_accelerator(config)
        seed_global_generators(config.seed)
        self.task = players.task(config, data)
        self.players: Players = players.build(config, self.task)
        players.start_from(self.players, data)
        sides = self.players
        # On a CPU this memory format makes the generator's convolutions faster, but not the discriminator's.
        sides.generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        pace, lazy = config.trainer, lazy_correction(config.objective.penalty_every_steps)
        # What `prepare` returns may wrap a side to synchronise processes; the sides themselves are unchanged.
        (
            self._parallel_generator_side,
            self._parallel_critic_side,
            self._generator_optimizer,
            self._critic_optimizer,
        ) = self._accelerator.prepare(
            sides.generator_side,
            sides.critic_side,
            build_optimizer(sides.generator_side, pace.learning_rate_generator, pace.weight_decay_generator, pace),
            build_optimizer(
                sides.critic_side, pace.learning_rate_discriminator * lazy, pace.weight_decay_discriminator, pace, lazy
            ),
        )
        self._lazy = lazy
        self.ema: Side = copy.deepcopy(sides.generator_side).eval().requires_grad_(False)
        self._part = part_of_batch(pace.batch_size, self._accelerator.process_index, self._accelerator.num_processes)
        self._stream = BatchStream(
            data,
            self.device,
            seed=config.seed,
            batch_size=pace.batch_size,
            generator=config.generator,
            horizontal_flips=pace.horizontal_flips,
            part=self._part,
        )
        self._augmentation = None if config.augmentation is None else augmentation.build(config.augmentation)
        self._unlogged: dict[str, list[Tensor]] = {}
        self.rollbacks: tuple[Event, ...] = ()

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return cast("torch.device", self._accelerator.device)

    @property
    def is_main_process(self) -> bool:
        """Whether this process is the one that writes files."""
        return bool(self._accelerator.is_main_process)

    @property
    def finished(self) -> bool:
        """Whether the run has reached its length."""
        return self.samples_seen >= self.config.trainer.total_samples

    def passed(self, every_samples: int) -> bool:
        """Whether the last step reached or crossed a multiple of `every_samples`.

        Returns:
            True once for each multiple (or for several that one step covers), and at the end of the run.
        """
        before = self.samples_seen - self.config.trainer.batch_size
        return self.finished or self.samples_seen // every_samples > before // every_samples

    @property
    def processes(self) -> int:
        """How many processes share each batch."""
        return int(self._accelerator.num_processes)

    def step(self) -> dict[str, Tensor]:
        """Train the critic `critic_steps` times and the generator once.

        Returns:
            The readings of the last critic step and of the generator's, scalars on the device.
        """
        sides = self.players.generator_side, self.players.critic_side
        with shared_statistics(*sides) if self.processes > 1 else nullcontext():
            return self._step()

    def _step(self) -> dict[str, Tensor]:
        pace = self.config.trainer
        iteration = self.samples_seen // pace.batch_size
        progress = min(self.samples_seen / pace.total_samples, 1.0)
        objective: Objective = self.config.objective.at(progress, iteration)
        self._set_learning_rates(progress)

        first_latents = iteration * (pace.critic_steps + 1)
        for turn in range(pace.critic_steps):
            batch = self._batch(iteration * pace.critic_steps + turn, first_latents + turn)
            critic = self._critic_step(objective, batch, first_latents + turn)
        fresh = first_latents + pace.critic_steps
        batch = replace(batch, latents=self._stream.latents(fresh), codes=self._codes(fresh))
        generator = self._generator_step(objective, batch, self._augment(fresh))

        self.samples_seen += pace.batch_size
        self._average()
        readings = {**_named("critic", critic), **_named("generator", generator)}
        for name, reading in readings.items():
            self._unlogged.setdefault(name, []).append(reading)
        return readings

    def check_finite(self) -> None:
        """Check that every reading since the last row of the log, and every weight, is finite in every process.

        Raises:
            DivergenceError: with the first value that is not, and when.
        """
        reason = self._divergence()
        if self.any_process(here=reason is not None):
            raise DivergenceError(reason or f"another process, at sample {self.samples_seen:,}", DIVERGED_ADVICE)

    def take_means(self) -> dict[str, float]:
        """Average the readings since the last call, over steps and processes, and clear them.

        Returns:
            Means by name, such as `critic/r1`.
        """
        means = {}
        for name, readings in self._unlogged.items():
            mean = torch.stack(readings).double().mean()
            means[name] = float(cast("Tensor", self._accelerator.reduce(mean, "mean")))
        self._unlogged.clear()
        return means

    def fixed_samples(self) -> Tensor:
        """Generate from latents that are the same during the whole run.

        Returns:
            [B, ...] of the averaged generator, on the CPU, as many as a sample grid shows.
        """
        generator = self.config.generator
        seed, count = self.config.seed, samples_wanted(self.task.sample_shape, self.task.classes)
        fixed = [latents(seed, GRID, 0, count, generator.latent_size, generator.prior)]
        if self.task.classes:
            fixed.append(torch.from_numpy(classes_shown(self.task.sample_shape, self.task.classes)))
        if self.config.codes is not None:
            fixed.append(codes(seed, GRID_CODES, 0, count, self.config.codes))
        with torch.no_grad():
            samples: Tensor = self.ema[players.GENERATOR](*(values.to(self.device) for values in fixed))
        return samples.cpu()

    def checkpoint(self) -> Checkpoint:
        """Collect everything that the rest of the run depends on."""
        scaler = self._accelerator.scaler
        state = TrainerState(
            samples_seen=self.samples_seen,
            generator_side=self.players.generator_side.state_dict(),
            critic_side=self.players.critic_side.state_dict(),
            ema=self.ema.state_dict(),
            generator_optimizer=self._generator_optimizer.state_dict(),
            critic_optimizer=self._critic_optimizer.state_dict(),
            scaler=scaler.state_dict() if scaler is not None else {},
            unlogged={name: torch.stack(readings) for name, readings in self._unlogged.items()},
            augmentation={} if self._augmentation is None else self._augmentation.state(),
            rollbacks=[dataclasses.asdict(event) for event in self.rollbacks],
            random=global_generators(),
        )
        return Checkpoint(
            format=checkpoint.FORMAT,
            config_sha256=configuration.sha256(self.config),
            config=configuration.dumps(self.config),
            data_sha256=self.data.sha256,
            task=dataclasses.asdict(self.task),
            machine=machine.describe(self.device),
            state=state,
        )

    def restore(self, state: TrainerState) -> None:
        """Continue from a checkpoint of the same configuration and data."""
        self.samples_seen = state["samples_seen"]
        self.players.generator_side.load_state_dict(state["generator_side"])
        self.players.critic_side.load_state_dict(state["critic_side"])
        self.ema.load_state_dict(state["ema"])
        self._generator_optimizer.load_state_dict(state["generator_optimizer"])
        self._critic_optimizer.load_state_dict(state["critic_optimizer"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self._unlogged = {name: list(readings.to(self.device)) for name, readings in state["unlogged"].items()}
        if self._augmentation is not None:
            self._augmentation.restore(state["augmentation"])
        self.rollbacks = tuple(Event(**event) for event in state["rollbacks"])
        restore_global_generators(state["random"])

    def roll_back(self, state: TrainerState, reason: str) -> None:
        """Continue from a checkpoint after a divergence, with lower learning rates."""
        self.restore(state)
        self._accelerator.wait_for_everyone()  # the main process is about to replace the file that all of them read
        rates = ROLLBACK_RATE_FACTOR ** (len(self.rollbacks) + 1)
        text = f"{reason}; back to sample {self.samples_seen:,} with {rates:g} times the learning rates"
        self.rollbacks = (*self.rollbacks, Event(self.samples_seen, "rollback", text))

    def shut_down(self, *, together: bool) -> None:
        """Destroy the process group; without this, a process that ends is aborted by the group's threads.

        Args:
            together: whether to wait for all processes first.
        """
        if self.processes > 1:
            if together:
                self._accelerator.wait_for_everyone()
            torch.distributed.destroy_process_group()

    def any_process(self, *, here: bool) -> bool:
        """Whether something holds in any process; every process must call this."""
        if self.processes == 1:
            return here  # without a reduction, which would synchronise with the device
        anywhere = self._accelerator.reduce(torch.tensor(float(here), device=self.device), "sum")
        return bool(cast("Tensor", anywhere) > 0)

    def _divergence(self) -> str | None:
        """Describe the first value that is not finite."""
        stacked = {name: torch.stack(readings) for name, readings in self._unlogged.items()}
        bad = {
            name: int((~values.isfinite()).int().argmax())
            for name, values in stacked.items()
            if not values.isfinite().all()
        }
        if bad:
            name = min(bad, key=lambda key: bad[key])
            steps_ago = len(stacked[name]) - 1 - bad[name]
            sample = self.samples_seen - steps_ago * self.config.trainer.batch_size
            return f"{name} became {float(stacked[name][bad[name]])} at sample {sample:,}"
        for name, network in (
            ("generator", self.players.generator_side),
            ("discriminator", self.players.critic_side),
        ):
            if not all(parameter.isfinite().all() for parameter in network.parameters()):
                return f"a weight of the {name} is infinite at sample {self.samples_seen:,}"
        return None

    def _batch(self, real_draw: int, latents_draw: int) -> Batch:
        real, real_labels = self._stream.real(real_draw)
        told = real_labels if self.task.classes else None
        return Batch(real, self._stream.latents(latents_draw), told, self._codes(latents_draw))

    def _codes(self, draw: int) -> Tensor | None:
        if self.config.codes is None:
            return None
        whole = codes(self.config.seed, CODES, draw, self.config.trainer.batch_size, self.config.codes)
        return whole[self._part].to(self.device)

    def _augment(self, draw: int) -> Augment | None:
        """The augmentation of one optimizer step, with its own random draw."""
        if self._augmentation is None:
            return None
        return partial(self._augmentation, numbers=self._numbers(AUGMENTATION, draw))

    def _warp(self, draw: int) -> Augment | None:
        """The warp of one critic step."""
        if self.config.warps is None:
            return None
        return partial(warped, config=self.config.warps, numbers=self._numbers(WARPS, draw))

    def _numbers(self, stream: int, draw: int) -> RandomNumbers:
        chance = random_stream(self.config.seed, stream, draw)
        return RandomNumbers(chance, self.config.trainer.batch_size, self._part, self.device)

    def _critic_step(self, objective: Objective, batch: Batch, draw: int) -> LossTerms:
        nets = players.networks_of(
            self.players.generator_side, self._parallel_critic_side, self._augment(draw), self._warp(draw)
        )
        terms = objective.critic_loss(nets, batch)
        self._descend(terms.total, self._critic_optimizer)
        if objective.weight_bound is not None:
            with torch.no_grad():
                for weight in self.players.critic_side.parameters():
                    weight.clamp_(-objective.weight_bound, objective.weight_bound)
        if self._augmentation is not None:
            sign = self._accelerator.reduce(terms.parts["real_sign"], "mean")
            self._augmentation.observe(cast("Tensor", sign), self.config.trainer.batch_size)
        return terms

    def _generator_step(self, objective: Objective, batch: Batch, augment: Augment | None) -> LossTerms:
        # Not the parallel critic: its wrapper expects gradients from each use, and here there are none.
        with players.frozen(self.players.critic_side):
            nets = players.networks_of(self._parallel_generator_side, self.players.critic_side, augment)
            terms = objective.generator_loss(nets, batch)
            self._descend(terms.total, self._generator_optimizer)
        return terms

    def _descend(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        self._accelerator.backward(loss)
        optimizer.step()

    def _set_learning_rates(self, progress: float) -> None:
        pace = self.config.trainer
        left = cosine(1.0, pace.learning_rate_final_fraction, progress) * ROLLBACK_RATE_FACTOR ** len(self.rollbacks)
        for optimizer, rate in (
            (self._generator_optimizer, pace.learning_rate_generator),
            (self._critic_optimizer, pace.learning_rate_discriminator * self._lazy),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * left

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average towards the weights; buffers, such as batch statistics, are copied."""
        pace = self.config.trainer
        decay = ema_decay(pace.batch_size, pace.ema_half_life_samples, self.samples_seen)
        averaged, trained = self.ema, self.players.generator_side
        # One call for all weights: on a GPU a kernel for many of them instead of one each.
        torch._foreach_lerp_(list(averaged.parameters()), list(trained.parameters()), 1 - decay)
        if buffers := list(averaged.buffers()):
            torch._foreach_copy_(buffers, list(trained.buffers()))


def _named(player: str, terms: LossTerms) -> dict[str, Tensor]:
    return {f"{player}/total": terms.total.detach(), **{f"{player}/{name}": part for name, part in terms.parts.items()}}
