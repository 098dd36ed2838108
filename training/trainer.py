"""The one loop: critic steps, a generator step, the moving average, and what is due in between.

    step   critic_steps x [real, latents -> critic loss -> Adam]   fresh latents -> generator loss -> Adam -> average

The trainer alone knows optimizers, devices, processes and time; the objective is mathematics, the recorder and the
checkpoints are files. A run is a function of its configuration, its data and the number of samples seen, so one that
was stopped and resumed computes what an uninterrupted one does (bit for bit on a CPU with as many threads).

Devices, mixed precision and several processes are Accelerate's business. Each process computes its part of the same
global batch; their gradients are averaged.
"""

import copy
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training import checkpoint
from training import config as configuration
from training.batches import GRID, BatchStream, latents
from training.checkpoint import Checkpoint, TrainerState
from training.config import Config
from training.data.image_data import ImageData
from training.errors import ConfigError, DivergenceError, Interrupted
from training.interruption import stop_on_signal
from training.networks.dcgan import Discriminator, Generator
from training.objectives.port import Batch, LossTerms, Networks, Objective
from training.recording import Recorder
from training.schedule import cosine, ema_decay

DIVERGED_ADVICE: Final = "earlier checkpoints are kept; try lower learning rates, or higher gamma_r1 and gamma_r2"
GRID_SAMPLES: Final = 64  # ten classes several times each, and still a screenful
LEGACY_SEED_RANGE: Final = 2**32  # of NumPy's global generator


class Trainer:
    """The state of a run and the step that advances it.

    Args:
        config: of the run.
        data: to train on.

    Raises:
        ConfigError: if the precision does not exist on this machine, or the batch does not divide by the processes.
    """

    def __init__(self, config: Config, data: ImageData) -> None:
        self.config = config
        self.data = data
        self.samples_seen = 0
        self._accelerator = _accelerator(config)
        _seed_global_generators(config.seed)
        generator = Generator(config.generator, data.image_shape)
        # Measured on a CPU: its convolutions run 15 % faster so, the discriminator's no faster.
        generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # documented, not in the stubs
        discriminator = Discriminator(config.discriminator, data.image_shape)
        pace = config.trainer
        (
            self._parallel_generator,
            self._parallel_discriminator,
            self._generator_optimizer,
            self._discriminator_optimizer,
        ) = self._accelerator.prepare(
            generator,
            discriminator,
            _adam(generator, pace.learning_rate_generator, config),
            _adam(discriminator, pace.learning_rate_discriminator, config),
        )
        # The networks themselves; what `prepare` returned may wrap them to keep processes in step.
        self.generator: Generator = self._accelerator.unwrap_model(self._parallel_generator)
        self.discriminator: Discriminator = self._accelerator.unwrap_model(self._parallel_discriminator)
        self.ema = copy.deepcopy(generator).eval().requires_grad_(False)
        self._stream = BatchStream(
            data,
            self.device,
            seed=config.seed,
            batch_size=pace.batch_size,
            latent_size=config.generator.latent_size,
            horizontal_flips=pace.horizontal_flips,
            part=_part(pace.batch_size, self._accelerator.process_index, self._accelerator.num_processes),
        )
        self._unlogged: dict[str, list[Tensor]] = {}

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
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
        """Whether the last step reached or crossed a multiple of a distance.

        Args:
            every_samples: the distance.

        Returns:
            True once for each multiple (or for several that one step covers), and at the end of the run.
        """
        before = self.samples_seen - self.config.trainer.batch_size
        return self.finished or self.samples_seen // every_samples > before // every_samples

    def step(self) -> dict[str, Tensor]:
        """Train the critic `critic_steps` times and the generator once.

        Returns:
            The readings of the last critic step and of the generator's, scalars on the device.
        """
        pace = self.config.trainer
        iteration = self.samples_seen // pace.batch_size
        progress = min(self.samples_seen / pace.total_samples, 1.0)
        objective: Objective = self.config.objective.at(progress)
        self._set_learning_rates(progress)

        first_latents = iteration * (pace.critic_steps + 1)
        for turn in range(pace.critic_steps):
            real, labels = self._stream.real(iteration * pace.critic_steps + turn)
            batch = Batch(real, self._stream.latents(first_latents + turn), labels)
            critic = self._critic_step(objective, batch)
        batch = Batch(real, self._stream.latents(first_latents + pace.critic_steps), labels)
        generator = self._generator_step(objective, batch)

        self.samples_seen += pace.batch_size
        self._average()
        readings = {**_named("critic", critic), **_named("generator", generator)}
        for name, reading in readings.items():
            self._unlogged.setdefault(name, []).append(reading)
        return readings

    def check_finite(self) -> None:
        """Make sure that every reading since the last row of the log, and every weight, is a number.

        Raises:
            DivergenceError: naming the first reading that is not, and when.
        """
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
            value = float(stacked[name][bad[name]])
            raise DivergenceError(f"training diverged: {name} became {value} at sample {sample:,}; {DIVERGED_ADVICE}")
        for name, network in (("generator", self.generator), ("discriminator", self.discriminator)):
            if not all(parameter.isfinite().all() for parameter in network.parameters()):
                what = f"a weight of the {name} is infinite at sample {self.samples_seen:,}"
                raise DivergenceError(f"training diverged: {what}; {DIVERGED_ADVICE}")

    def take_means(self) -> dict[str, float]:
        """Average the readings since the last call, over steps and processes, and forget them.

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
        """Generate from the same latents as ever.

        Returns:
            [64, C, H, W] of the averaged generator, on the CPU.
        """
        fixed = latents(self.config.seed, GRID, 0, GRID_SAMPLES, self.config.generator.latent_size)
        with torch.no_grad():
            samples: Tensor = self.ema(fixed.to(self.device))
        return samples.cpu()

    def checkpoint(self) -> Checkpoint:
        """Take everything that the future of the run depends on.

        Returns:
            A checkpoint ready to be written.
        """
        scaler = self._accelerator.scaler
        state = TrainerState(
            samples_seen=self.samples_seen,
            generator=self.generator.state_dict(),
            discriminator=self.discriminator.state_dict(),
            ema=self.ema.state_dict(),
            generator_optimizer=self._generator_optimizer.state_dict(),
            discriminator_optimizer=self._discriminator_optimizer.state_dict(),
            scaler=scaler.state_dict() if scaler is not None else {},
            unlogged={name: torch.stack(readings) for name, readings in self._unlogged.items()},
            random=_global_generators(),
        )
        return Checkpoint(
            format=checkpoint.FORMAT,
            config_sha256=configuration.sha256(self.config),
            config=configuration.dumps(self.config),
            data_sha256=self.data.sha256,
            image_shape=self.data.image_shape,
            state=state,
        )

    def restore(self, state: TrainerState) -> None:
        """Go on from a checkpoint of the same configuration and data.

        Args:
            state: as `checkpoint` took it.
        """
        self.samples_seen = state["samples_seen"]
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.ema.load_state_dict(state["ema"])
        self._generator_optimizer.load_state_dict(state["generator_optimizer"])
        self._discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self._accelerator.scaler is not None:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self._unlogged = {name: list(readings.to(self.device)) for name, readings in state["unlogged"].items()}
        _restore_global_generators(state["random"])

    def _critic_step(self, objective: Objective, batch: Batch) -> LossTerms:
        terms = objective.critic_loss(Networks(self.generator, self._parallel_discriminator), batch)
        self._descend(terms.total, self._discriminator_optimizer)
        return terms

    def _generator_step(self, objective: Objective, batch: Batch) -> LossTerms:
        # Not the parallel critic: what keeps processes in step expects gradients from each use; here it gets none.
        with _frozen(self.discriminator):
            terms = objective.generator_loss(Networks(self._parallel_generator, self.discriminator), batch)
            self._descend(terms.total, self._generator_optimizer)
        return terms

    def _descend(self, loss: Tensor, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        self._accelerator.backward(loss)
        optimizer.step()

    def _set_learning_rates(self, progress: float) -> None:
        pace = self.config.trainer
        left = cosine(1.0, pace.learning_rate_final_fraction, progress)
        for optimizer, rate in (
            (self._generator_optimizer, pace.learning_rate_generator),
            (self._discriminator_optimizer, pace.learning_rate_discriminator),
        ):
            for group in optimizer.param_groups:
                group["lr"] = rate * left

    @torch.no_grad()
    def _average(self) -> None:
        """Move the average towards the weights; buffers, such as batch statistics, are copied."""
        pace = self.config.trainer
        decay = ema_decay(pace.batch_size, pace.ema_half_life_samples, self.samples_seen)
        for parameter, weight in zip(self.ema.parameters(), self.generator.parameters(), strict=True):
            parameter.lerp_(weight, 1 - decay)
        for copied, buffer in zip(self.ema.buffers(), self.generator.buffers(), strict=True):
            copied.copy_(buffer)


def fit(trainer: Trainer, run: Path, recorder: Recorder | None) -> None:
    """Train to the end, recording and writing checkpoints as the configuration says.

    Args:
        trainer: at its start, or restored.
        run: the run's folder.
        recorder: of the main process; None in the others.

    Raises:
        Interrupted: after SIGINT or SIGTERM and a checkpoint.
        DivergenceError: if a loss is no longer a number; the checkpoints before it are kept.
        CheckpointError: if a checkpoint cannot be written.
    """
    pace = trainer.config.trainer
    with stop_on_signal() as stop:
        while not trainer.finished:
            readings = trainer.step()
            stopping = stop.signal_number is not None
            saving = stopping or trainer.passed(pace.checkpoint_every_samples)
            logging = trainer.passed(pace.log_every_samples)
            if saving or logging:
                trainer.check_finite()
            means = trainer.take_means() if logging else None
            if recorder is not None:
                recorder.advance(trainer.samples_seen, readings)
                if means is not None:
                    recorder.means(trainer.samples_seen, means)
                if trainer.passed(pace.grid_every_samples):
                    recorder.grid(trainer.samples_seen, trainer.fixed_samples())
                if saving:
                    recorder.flush()
                    checkpoint.save(run, trainer.checkpoint())
            if stop.signal_number is not None and saving:
                raise Interrupted(
                    f"stopped at sample {trainer.samples_seen:,}; go on with `python -m training resume {run}`",
                    stop.signal_number,
                )


def _accelerator(config: Config) -> Accelerator:
    precision = config.trainer.precision
    try:
        accelerator = Accelerator(mixed_precision="no" if precision == "fp32" else precision)
    except ValueError as error:
        raise ConfigError(f"[trainer] precision {precision} is not available here: {error}") from error
    if precision == "fp16" and accelerator.scaler is None:  # Accelerate would silently compute in fp32
        raise ConfigError("[trainer] precision fp16 needs a GPU; bf16 works on a CPU as well")
    if config.trainer.batch_size % accelerator.num_processes:
        raise ConfigError(
            f"[trainer] batch_size {config.trainer.batch_size} does not divide by {accelerator.num_processes} processes"
        )
    return accelerator


def _part(batch_size: int, process: int, processes: int) -> slice:
    """Which samples of each batch a process works on."""
    size = batch_size // processes
    return slice(process * size, (process + 1) * size)


def _adam(network: nn.Module, learning_rate: float, config: Config) -> torch.optim.Adam:
    betas = (config.trainer.beta1, config.trainer.beta2)
    return torch.optim.Adam(network.parameters(), lr=learning_rate, betas=betas, fused=True)


def _named(player: str, terms: LossTerms) -> dict[str, Tensor]:
    return {f"{player}/total": terms.total.detach(), **{f"{player}/{name}": part for name, part in terms.parts.items()}}


@contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Keep a network's weights out of the gradient, which also saves computing it."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)


def _seed_global_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % LEGACY_SEED_RANGE)  # noqa: NPY002 - the global generator is what others may use
    torch.manual_seed(seed)


def _global_generators() -> dict[str, object]:
    """Their states as plain values and tensors."""
    numpy = np.random.get_state(legacy=False)  # noqa: NPY002 - see above
    words = numpy["state"]["key"]  # unsigned, which torch's files hardly know
    return {
        "python": random.getstate(),
        "numpy": {**numpy, "state": {**numpy["state"], "key": torch.from_numpy(words.astype(np.int64))}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def _restore_global_generators(states: dict[str, object]) -> None:
    numpy = cast("dict[str, Any]", states["numpy"])
    words = numpy["state"]["key"].numpy().astype(np.uint32)
    random.setstate(cast("tuple[object, ...]", states["python"]))
    np.random.set_state({**numpy, "state": {**numpy["state"], "key": words}})  # noqa: NPY002 - see above
    torch.set_rng_state(cast("Tensor", states["torch"]))
    cuda = cast("list[Tensor]", states["cuda"])
    if len(cuda) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(cuda)
