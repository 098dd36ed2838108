"""One measurement of a run during training, on the same real samples and latents each time.

It works on copies of the networks, restores torch's generator and draws from its own stream, so that it does not change
the run. Real samples are held-out ones if there are enough, because a critic's bound holds only on samples that it was
not fitted to.

The generator's variety is measured on its moving average, which will be served; the critic's logits and the gradients
on the trained pair, with the generator in training mode.

Cost: the discriminator on 2 S samples, the generator on 3 S, two backward passes on 64, and 2 S^2 distances in double
precision, S the number of samples probed; on a GPU all of it there, but for the assignment of samples to modes.

Shapes: S samples probed, ... one sample.
"""

import copy
import math
from collections.abc import Callable
from typing import Final, cast

import numpy as np
import torch
from torch import Tensor

from training.config import FEWEST_PROBED, Config
from training.data.image_data import Dataset, ImageData, Labels
from training.data.mixtures import MixtureConfig
from training.data.pixels import to_floats
from training.data.vector_data import VectorData
from training.diagnostics.measures import birthday, modes, spread
from training.diagnostics.measures.distances import pair_distances
from training.diagnostics.measures.divergence import LOG_ODDS, Readings, readings
from training.diagnostics.measures.modes import assigner_of
from training.diagnostics.measures.saturation import gradient_norm, gradient_norms, sure_share
from training.networks.base import Task
from training.objectives.base import Batch, Networks
from training.state import players
from training.state.batches import PROBE, codes, latents, random_stream
from training.state.players import Players, Side

GRADIENT_SAMPLES: Final = 64  # a usual batch, so that norms are those of a step
ROWS, LATENTS, CODES = range(3)  # draws of the probe's stream

Encoder = Callable[[Tensor], Tensor]


def can_probe(data: Dataset) -> bool:
    """Whether samples are numbers with distances and gradients: images and vectors, but not items."""
    return data.train.dtype == np.uint8 or np.issubdtype(data.train.dtype, np.floating)


class Probe:
    """The fixed samples of a run's measurements, and the figures of the real ones.

    Args:
        data: must satisfy `can_probe`.
    """

    def __init__(self, config: Config, data: Dataset, task: Task, device: torch.device) -> None:
        self._objective = config.objective
        self._batch = _batch(config, data, task, device)
        self._pack = task.pack
        self._judges_pairs = task.joint_size > 0
        # Distances are in double precision, which not every accelerator has.
        self._measured_on = device if device.type == "cuda" else torch.device("cpu")
        real = self._batch.real.to(self._measured_on)
        self._unit = spread.unit(real)
        self._ruler = birthday.calibrate(real)
        self._neighbourhood = spread.neighbourhood(real)
        self._modes = assigner_of(config, data)
        self._modes_are_exact = isinstance(config.data, MixtureConfig)
        self._modes_of_real = 0.0 if self._modes is None else modes.readings(self._modes, real.cpu())["modes"]

    @property
    def size(self) -> int:
        """S."""
        return len(self._batch.latents)

    def measure(self, trained: Players, averaged: Side) -> Readings:
        """Measure a pair.

        Returns:
            Readings by name, without those that are not finite.
        """
        generator_side, critic_side = copy.deepcopy(trained.generator_side), copy.deepcopy(trained.critic_side).eval()
        nets = players.networks_of(generator_side, critic_side)
        devices = [] if self._batch.real.device.type != "cuda" else [self._batch.real.device]
        with torch.random.fork_rng(devices=devices):
            found = self._critic(nets) | self._gradients(nets, generator_side)
            with torch.no_grad():
                drawn = players.networks_of(averaged, critic_side).generate(self._batch)
                current = players.networks_of(generator_side.eval(), critic_side).generate(self._batch)
        found |= {
            "probe_samples": float(self.size),
            **self._variety(drawn.to(self._measured_on), current.to(self._measured_on)),
        }
        return {name: figure for name, figure in found.items() if math.isfinite(figure)}

    @torch.no_grad()
    def _critic(self, nets: Networks) -> Readings:
        batch, fake = self._batch, nets.generate(self._batch)
        if self._judges_pairs:
            real_logits = nets.discriminator(batch.real, cast("Encoder", nets.encoder)(batch.real))
            fake_logits = nets.discriminator(fake, batch.latents)
        else:
            real_logits, fake_logits = nets.judge(batch.real, batch), nets.judge(fake, batch)
        found = readings(self._objective, real_logits.cpu(), fake_logits.cpu())
        if self._objective.loss_family in LOG_ODDS:
            found["sure_share"] = sure_share(torch.cat([real_logits, fake_logits]))
        elif self._objective.loss_family == "relativistic":
            found["sure_share"] = sure_share(real_logits[:, None] - fake_logits[None, :])
        return found

    def _gradients(self, nets: Networks, generator_side: Side) -> Readings:
        batch = _first(self._batch, GRADIENT_SAMPLES - GRADIENT_SAMPLES % self._pack)
        parameters = list(generator_side[players.GENERATOR].parameters())
        found = {"gradient": gradient_norm(self._objective.generator_loss(nets, batch).total, parameters)}
        if self._objective.loss_family in LOG_ODDS and not self._judges_pairs:
            logits = nets.judge(nets.generate(batch), batch)
            found["gradient_minimax"], found["gradient_non_saturating"] = gradient_norms(logits, parameters)
        return found

    def _variety(self, drawn: Tensor, current: Tensor) -> Readings:
        found: Readings = {}
        near = None
        if self._unit > 0:
            near, nearness = self._neighbourhood.near(drawn)
            apart = pair_distances(drawn)
            found = {
                **nearness,
                "diversity": spread.diversity(apart, self._unit),
                "unrest": spread.unrest(current, drawn, self._unit),
                **birthday.estimate(drawn, self._ruler, apart).readings(),
            }
        if self._modes is not None:
            counted = None if self._modes_are_exact or near is None else near.cpu()
            found |= {"modes_of_real": self._modes_of_real, **modes.readings(self._modes, drawn.cpu(), counted)}
        return found


def _labels(data: Dataset, *, held_out: bool) -> Labels | None:
    if not held_out:
        return data.train_labels
    return data.held_out_labels if isinstance(data, ImageData | VectorData) else None


def _batch(config: Config, data: Dataset, task: Task, device: torch.device) -> Batch:
    """The real samples and the latents of every measurement."""
    enough = len(data.held_out) >= FEWEST_PROBED
    source = data.held_out if enough else data.train
    size = min(config.diagnostics.probe_samples, max(len(source), FEWEST_PROBED))
    size -= size % task.pack
    rows = random_stream(config.seed, PROBE, ROWS).choice(len(source), size, replace=len(source) < size)
    real = torch.from_numpy(source[rows])
    labels = _labels(data, held_out=enough)
    keys = config.generator
    drawn_codes = None if config.codes is None else codes(config.seed, PROBE, CODES, size, config.codes)
    return Batch(
        real=(to_floats(real) if real.dtype == torch.uint8 else real).to(device),
        latents=latents(config.seed, PROBE, LATENTS, size, keys.latent_size, keys.prior).to(device),
        labels=torch.from_numpy(labels[rows]).to(device) if task.classes and labels is not None else None,
        codes=None if drawn_codes is None else drawn_codes.to(device),
    )


def _first(batch: Batch, count: int) -> Batch:
    """The first rows of a batch."""
    return Batch(
        batch.real[:count],
        batch.latents[:count],
        None if batch.labels is None else batch.labels[:count],
        None if batch.codes is None else batch.codes[:count],
    )
