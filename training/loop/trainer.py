"""The state of a run: what advances it by a step, what a checkpoint keeps of it, and what restores it.

A run is a function of its configuration, its data and the number of samples seen, so a resumed run computes what an
uninterrupted one does (bit for bit on a CPU with the same number of threads, and with `deterministic` on one GPU). A
side's other players (an encoder, a code head) are trained and averaged with it. Each process computes its part of the
same global batch; Accelerate averages the gradients.
"""

import copy
import dataclasses
import gc
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, Final, cast

import torch
from torch import Tensor

from training import augmentation
from training import config as configuration
from training.config import Config
from training.data.image_data import Dataset
from training.errors import DivergenceError
from training.evaluation.pictures import classes_shown, samples_wanted
from training.loop import captured, machine
from training.loop.plan import ROLLBACK_RATE_FACTOR, Plan
from training.loop.runner import DirectRunner, FedRunner, Runner
from training.loop.setup import (
    build_accelerator,
    build_optimizer,
    global_generators,
    part_of_batch,
    restore_global_generators,
    seed_global_generators,
)
from training.loop.step import Step
from training.networks.batch_statistics import shared_statistics
from training.objectives import WassersteinGradientPenalty
from training.schedule import lazy_correction
from training.state import checkpoint, players
from training.state.batches import GRID, GRID_CODES, BatchStream, codes, latents
from training.state.changes import fingerprints, first_position, label_names
from training.state.checkpoint import Checkpoint, TrainerState
from training.state.history import Change, Event
from training.state.inputs import Recipe
from training.state.players import Players, Side

DIVERGED_ADVICE: Final = "earlier checkpoints are kept; try lower learning rates, or higher gamma_r1 and gamma_r2"


class Trainer:
    """The state of a run and the step that advances it.

    Args:
        history: what was changed of the run so far.
        rehearse: run steps on the CPU as on a GPU, with inputs that are fed ahead and, with `cuda_graph`, the code that
            would be captured; the results are the same.

    Raises:
        ConfigError: if the precision does not exist on this machine, the batch does not divide by the processes, or
            steps cannot be captured.
    """

    def __init__(
        self, config: Config, data: Dataset, *, history: Sequence[Change] = (), rehearse: bool = False
    ) -> None:
        self.config = config
        self.data = data
        self.history = tuple(history)
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
        self.ema: Side = copy.deepcopy(sides.generator_side).eval().requires_grad_(False)
        part = part_of_batch(pace.batch_size, self._accelerator.process_index, self._accelerator.num_processes)
        stream = BatchStream(
            data,
            self.device,
            seed=config.seed,
            batch_size=pace.batch_size,
            generator=config.generator,
            horizontal_flips=pace.horizontal_flips,
            part=part,
        )
        stream.count_from(first_position(self.history))
        recipe = Recipe(stream, config.seed, pace.batch_size, part, pace.critic_steps, config.codes)
        self._plan = Plan(config, recipe, self.device, tensors=pace.cuda_graph)
        table = config.augmentation
        self._augmentation = None if table is None else augmentation.build(table, self.device)
        self._runner = self._build_runner(stream, rehearse=rehearse)
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
    def recorded(self) -> list[Event]:
        """The events that checkpoints keep: changes and rollbacks, in order."""
        return sorted((*self.history, *self.rollbacks), key=lambda event: event.samples)

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
        readings = self._runner.run(self.samples_seen // self.config.trainer.batch_size)
        self.samples_seen += self.config.trainer.batch_size
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
        last = self._plan.values(max(self.samples_seen // self.config.trainer.batch_size - 1, 0))
        state = TrainerState(
            samples_seen=self.samples_seen,
            generator_side=self.players.generator_side.state_dict(),
            critic_side=self.players.critic_side.state_dict(),
            ema=self.ema.state_dict(),
            generator_optimizer=_with_rate(self._generator_optimizer, last.generator_rate),
            critic_optimizer=_with_rate(self._critic_optimizer, last.critic_rate),
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
            history=[change.plain() for change in self.history],
            data_samples=len(self.data.train),
            label_names=label_names(self.data),
            fingerprints=fingerprints(self.data),
            state=state,
        )

    def restore(self, state: TrainerState) -> None:
        """Continue from a checkpoint of the same configuration and data."""
        self._runner.forget()
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
        self._plan.rollbacks = len(self.rollbacks)
        restore_global_generators(state["random"])

    def roll_back(self, state: TrainerState, reason: str) -> None:
        """Continue from a checkpoint after a divergence, with lower learning rates."""
        self.restore(state)
        self._accelerator.wait_for_everyone()  # the main process is about to replace the file that all of them read
        rates = ROLLBACK_RATE_FACTOR ** (len(self.rollbacks) + 1)
        text = f"{reason}; back to sample {self.samples_seen:,} with {rates:g} times the learning rates"
        self.rollbacks = (*self.rollbacks, Event(self.samples_seen, "rollback", text))
        self._plan.rollbacks = len(self.rollbacks)

    def shut_down(self, *, together: bool) -> None:
        """Destroy the process group; without this, a process that ends is aborted by the group's threads.

        Args:
            together: whether to wait for all processes first.
        """
        if self.processes > 1:
            if together:
                self._accelerator.wait_for_everyone()
            # What wraps the sides holds the group. Freed after it, it would join the group's threads with Python's
            # lock held, for which they may wait.
            del self._runner, self._parallel_generator_side, self._parallel_critic_side
            self._accelerator.free_memory()
            gc.collect()
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

    def _build_runner(self, stream: BatchStream, *, rehearse: bool) -> Runner:
        """Choose how steps are run on this device."""
        config, graphs = self.config, None
        step = Step(
            accelerator=self._accelerator,
            players=self.players,
            parallel_generator_side=self._parallel_generator_side,
            parallel_critic_side=self._parallel_critic_side,
            generator_optimizer=self._generator_optimizer,
            critic_optimizer=self._critic_optimizer,
            ema=self.ema,
            stream=stream,
            augmentation=self._augmentation,
            warps=config.warps,
            critic_steps=config.trainer.critic_steps,
            batch_size=config.trainer.batch_size,
            parts=config.trainer.accumulate,
            labelled=self.task.classes > 0,
            coded=config.codes is not None,
            between=isinstance(config.objective, WassersteinGradientPenalty),
        )
        if not rehearse:
            captured.check(config, self.device, self.processes)
        if self.device.type != "cuda" and not rehearse:
            return DirectRunner(step, self._plan, self.device)
        if config.trainer.cuda_graph:
            optimizers = (self._generator_optimizer, self._critic_optimizer)
            graphs = captured.EagerGraphs() if rehearse else captured.CudaGraphs(optimizers)
        return FedRunner(step, self._plan, self.device, graphs)


def _with_rate(optimizer: torch.optim.Optimizer, rate: float | Tensor) -> dict[str, object]:
    """The state of an optimizer, with its learning rate as a number."""
    state: dict[str, Any] = optimizer.state_dict()
    for group in state["param_groups"]:
        group["lr"] = rate if isinstance(group["lr"], Tensor) else group["lr"]
    return state
