"""Schedules of a run, as pure functions of training time.

Time is counted in samples, the generated samples that have trained the generator (one batch an iteration, however
many critic steps it takes), so that a schedule means the same at every batch size. A resumed run is at the same point
of every schedule because it has seen the same number of samples.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from training.tables import Range

EMA_RAMP = 0.05  # the half-life never exceeds this share of the time so far, so that the random start is forgotten
BUILT_IN: Final = "tensorboard"  # the tracker that every run has

Positive = Annotated[int, Range(at_least=1)]
Rate = Annotated[float, Range(above=0)]
Fraction = Annotated[float, Range(at_least=0, at_most=1)]
Decay = Annotated[float, Range(at_least=0, below=1)]


@dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """The `[trainer]` table.

    Attributes:
        total_samples: length of the run.
        batch_size: samples a step, over all processes together.
        accumulate: parts that a step's batch is computed in, one after the other: a whole step with the memory
            of a part. Batch normalisation then sees a part at a time.
        critic_steps: discriminator steps for each generator step.
        learning_rate_generator: at the start.
        learning_rate_discriminator: at the start.
        learning_rate_final_fraction: what is left of both at the end of a cosine; 1 keeps them constant.
        beta1: Adam's decay of the first moment.
        beta2: Adam's decay of the second moment, and RMSprop's.
        beta2_start: Adam's beta2 at the start, from where a cosine over the run leads to `beta2`; R3GAN's authors begin
            with 0.9.
        optimizer: Adam, or the RMSprop that WGAN's clipping asks for (momentum unsettles a bounded critic).
        weight_decay_generator: Adam's, decoupled: each step shrinks every weight by this times the learning rate.
        weight_decay_discriminator: Adam's, decoupled, of the discriminator.
        ema_half_life_samples: after so many samples half of the generator's moving average is new; 0 copies.
        ema_half_life_start_fraction: what there is of this half-life at the start of a cosine over the run; 1 keeps it
            constant, and R3GAN's authors begin with 0.
        horizontal_flips: show real images mirrored half of the time.
        precision: `bf16` and `fp16` compute in half precision where it is safe; weights stay in fp32. fp16 has no
            gradient penalties.
        deterministic: compute the same bits each time, on a GPU with slower kernels; without it a resumed run goes on
            exactly on a CPU only.
        tf32: let a GPU round the factors of fp32 products to 10 bits of mantissa, which is faster.
        cuda_graph: launch the kernels of a whole step at once, which is faster for small networks; on one GPU, with
            Adam.
        log_every_samples: distance of the rows of `metrics.jsonl`, each a mean over it.
        grid_every_samples: distance of the sample grids.
        checkpoint_every_samples: distance of the checkpoints.
        trackers: where rows and grids are sent besides TensorBoard's files, which every run writes; the others are
            installed with the extra `trackers`, and nothing that is trained depends on them.
    """

    total_samples: Positive
    batch_size: Positive = 64
    accumulate: Positive = 1
    critic_steps: Positive = 1
    learning_rate_generator: Rate = 2e-4
    learning_rate_discriminator: Rate = 2e-4
    learning_rate_final_fraction: Fraction = 1.0
    beta1: Decay = 0.0
    beta2: Decay = 0.99
    beta2_start: Decay | Literal["constant"] = "constant"
    optimizer: Literal["adam", "rmsprop"] = "adam"
    weight_decay_generator: Annotated[float, Range(at_least=0)] = 0.0
    weight_decay_discriminator: Annotated[float, Range(at_least=0)] = 0.0
    ema_half_life_samples: Annotated[int, Range(at_least=0)] = 10_000
    ema_half_life_start_fraction: Fraction = 1.0
    horizontal_flips: bool = False
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    deterministic: bool = False
    tf32: bool = False
    cuda_graph: bool = False
    log_every_samples: Positive = 6_400
    grid_every_samples: Positive = 64_000
    checkpoint_every_samples: Positive = 64_000
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = (BUILT_IN,)


def cosine(start: float, end: float, progress: float) -> float:
    """Half a cosine from `start` to `end`.

    Args:
        start: value at progress 0.
        end: value at progress 1.
        progress: share of the run that is over, in [0, 1].

    Returns:
        The value now; constant where `start` equals `end`.

    References:
        Loshchilov and Hutter, SGDR (2017), equation 5, without restarts.
    """
    return end + (start - end) * (1 + math.cos(math.pi * progress)) / 2


def lazy_correction(every_steps: int) -> float:
    """Correct an optimizer's settings for terms that are computed in every k-th step only.

    Args:
        every_steps: k; 1 is due always.

    Returns:
        c = k / (k + 1), or 1 for k = 1: the learning rate becomes c times itself, each beta its c-th power, so that
        the step and the memory of an optimizer that took the terms apart are kept.

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020), appendix B.
    """
    return every_steps / (every_steps + 1) if every_steps > 1 else 1.0


def ema_decay(batch_size: int, half_life_samples: float, samples_seen: int) -> float:
    """Weight of the old average in one update of the generator's moving average.

    Args:
        batch_size: samples since the last update.
        half_life_samples: samples after which half of the average is new; 0 means no averaging.
        samples_seen: training time so far, this batch included.

    Returns:
        beta in [0, 1): average = beta * average + (1 - beta) * weights.

    References:
        Karras et al., Analyzing and Improving the Image Quality of StyleGAN (2020), training loop of the published
        code: beta = 0.5^(batch / half-life), half-life ramped up with time. Yazici et al., The Unusual Effectiveness
        of Averaging in GAN Training (2019), equation 1.
    """
    half_life = min(half_life_samples, EMA_RAMP * samples_seen)
    return 0.5 ** (batch_size / half_life) if half_life > 0 else 0.0
