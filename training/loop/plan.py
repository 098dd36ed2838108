"""What a run does in each iteration, as functions of its number: the game's weights, the rates, the inputs.

An iteration is one step of the generator, so its number is the samples seen divided by the batch. Nothing here depends
on what was computed before, so the inputs of a step can be drawn while the one before it runs.
"""

from typing import Final

import torch
from torch import Tensor

from training.config import Config
from training.loop.step import CRITIC_RATE, GENERATOR_RATE, NEW_SHARE, Values
from training.objectives.base import TIMED_WEIGHTS, Objective
from training.schedule import cosine, ema_decay, lazy_correction
from training.state.inputs import HostInputs, Recipe

ROLLBACK_RATE_FACTOR: Final = 0.5  # of both learning rates


class Plan:
    """The plan of a run.

    Args:
        device: of the networks.
        tensors: whether a step takes its schedule's numbers as tensors, among its inputs.

    Attributes:
        rollbacks: how often the run was rolled back; each halves the learning rates.
    """

    def __init__(self, config: Config, recipe: Recipe, device: torch.device, *, tensors: bool) -> None:
        self.rollbacks = 0
        self._config = config
        self._recipe = recipe
        self._tensors = tensors
        self._rate_type = torch.float32 if device.type == "cuda" else torch.float64  # what Adam's kernels take there
        self._lazy = lazy_correction(config.objective.penalty_every_steps)

    def objective(self, iteration: int) -> Objective:
        """The game, with its weights at an iteration."""
        objective: Objective = self._config.objective.at(self._progress(iteration), iteration)
        return objective

    def values(self, iteration: int) -> Values:
        """The learning rates of an iteration, the share of the average that is new after it, and changing betas."""
        pace = self._config.trainer
        progress = self._progress(iteration)
        left = cosine(1.0, pace.learning_rate_final_fraction, progress)
        left *= ROLLBACK_RATE_FACTOR**self.rollbacks
        half_life = pace.ema_half_life_samples * cosine(pace.ema_half_life_start_fraction, 1.0, progress)
        betas = None
        if pace.beta2_start != "constant":
            beta2 = cosine(pace.beta2_start, pace.beta2, progress)
            betas = (pace.beta1, beta2), (pace.beta1**self._lazy, beta2**self._lazy)
        return Values(
            generator_rate=pace.learning_rate_generator * left,
            critic_rate=pace.learning_rate_discriminator * self._lazy * left,
            new_share=1 - ema_decay(pace.batch_size, half_life, (iteration + 1) * pace.batch_size),
            betas=betas,
        )

    def inputs(self, iteration: int) -> HostInputs:
        """What the step of an iteration asks of the CPU."""
        return HostInputs(self._recipe, iteration, self._scalars(iteration) if self._tensors else {})

    def _progress(self, iteration: int) -> float:
        pace = self._config.trainer
        return min(iteration * pace.batch_size / pace.total_samples, 1.0)

    def _scalars(self, iteration: int) -> dict[str, Tensor]:
        values, objective = self.values(iteration), self.objective(iteration)
        return {
            GENERATOR_RATE: torch.tensor(values.generator_rate, dtype=self._rate_type),
            CRITIC_RATE: torch.tensor(values.critic_rate, dtype=self._rate_type),
            NEW_SHARE: torch.tensor(values.new_share),
            **{name: torch.tensor(float(getattr(objective, name, 0))) for name in TIMED_WEIGHTS},
        }
