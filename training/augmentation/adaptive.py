"""ADA: invertible augmentations, each with a probability that follows how far the discriminator overfits.

    r = E sign D(x)       1: it recognises every training image; 0: it recognises none
    p += sign(r - target) samples / adjustment_samples       within [0, 1]

Pixel blitting, geometry and colour, as the authors recommend ("bgc"): each is invertible as a mixture with the identity
while p stays below 1, so that the generator cannot learn to imitate it. Where only differences of logits are
meaningful, r is taken of D(x) - D(G(z)). The authors resample with wavelet filters; here it is bilinear.

Shapes: B batch, C H W channels, height and width.

References:
    Karras et al., Training Generative Adversarial Networks with Limited Data (2020), sections 2 and 3, equation 1 and
    appendix B; strengths and the adjustment's speed are those of the authors' code.
"""

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor

from training.augmentation.random_numbers import NumberSource
from training.augmentation.warps import resample, rotation, scaling
from training.tables import Range

ADJUST_EVERY_STEPS = 4
TRANSLATION_STD = 1 / 8  # of the side; integer translations go as far at most
SCALE_STD = 0.2  # of log2
BRIGHTNESS_STD = 0.2
CONTRAST_STD = 0.5  # of log2
SATURATION_STD = 1.0  # of log2
COLOURS = 3


@dataclass(frozen=True, kw_only=True)
class AdaptiveConfig:
    """The `[augmentation]` table of kind "ada".

    Attributes:
        target: r to be held.
        adjustment_samples: samples in which p can go from 0 to 1.
    """

    kind: ClassVar[str] = "ada"

    target: Annotated[float, Range(above=0, below=1)] = 0.6
    adjustment_samples: Annotated[int, Range(at_least=1)] = 500_000


class Adaptive:
    """The augmentation and its probability.

    The probability and what it follows stay on the device: reading them would make the CPU wait for every step.
    """

    def __init__(self, config: AdaptiveConfig, device: torch.device | None = None) -> None:
        self._config = config
        if device is not None and device.type not in {"cpu", "cuda"}:
            device = None  # others have no double precision
        self._probability = torch.zeros((), dtype=torch.float64, device=device)
        self._signs = torch.zeros((), dtype=torch.float64, device=device)  # their sum since the last adjustment
        self._steps = torch.zeros((), dtype=torch.int64, device=device)

    @property
    def probability(self) -> float:
        """p; waits for the device."""
        return float(self._probability)

    def __call__(self, images: Tensor, numbers: NumberSource) -> Tensor:
        """Augment images [B, C, H, W]."""
        moved = resample(images, geometry(self._probability, numbers, images.shape[2:]))
        return colour(moved, self._probability, numbers)

    @torch.no_grad()
    def observe(self, real_sign: Tensor, batch_size: int) -> None:
        """Record one critic step, and adjust the probability when it is due.

        Args:
            real_sign: mean sign of the logits of real samples, over all processes.
        """
        self._signs += real_sign.to(self._signs.device)
        self._steps += 1
        due = self._steps == ADJUST_EVERY_STEPS
        excess = self._signs / self._steps - self._config.target
        step = excess.sign() * (batch_size * ADJUST_EVERY_STEPS / self._config.adjustment_samples)
        adjusted = (self._probability + step).clamp(0, 1)
        self._probability.copy_(torch.where(due, adjusted, self._probability))
        self._signs.masked_fill_(due, 0)
        self._steps.masked_fill_(due, 0)

    def state(self) -> dict[str, float]:
        """State for a checkpoint."""
        return {"probability": self.probability, "signs": float(self._signs), "steps": int(self._steps)}

    def restore(self, state: dict[str, float]) -> None:
        """Restore the state of a checkpoint."""
        self._probability.fill_(state["probability"])
        self._signs.fill_(state["signs"])
        self._steps.fill_(int(state["steps"]))


def geometry(probability: float | Tensor, numbers: NumberSource, size: torch.Size) -> Tensor:
    """Draw each sample's map: flip, quarter turns, whole-pixel moves, scales, rotations, moves.

    Args:
        probability: p, a scalar.
        size: H, W.

    Returns:
        [B, 2, 3], as `resample` takes it.
    """
    exact = torch.as_tensor(probability, dtype=torch.float64)
    probability = exact.float()  # what uniform numbers are compared with
    height, width = size
    flip = _sometimes(2 * (numbers.uniform() < 1 / 2).float() - 1, 1.0, probability, numbers)
    turns = _sometimes((numbers.uniform() * 4).floor() * (math.pi / 2), 0.0, probability, numbers)
    if height != width:  # a quarter turn would distort an oblong image
        turns = torch.zeros_like(turns)
    whole = _sometimes((2 * numbers.uniform(2) - 1) * TRANSLATION_STD, 0.0, probability, numbers)
    whole = torch.cat([(whole[:, :1] * width).round() / width, (whole[:, 1:] * height).round() / height], dim=1)
    scale = _sometimes(2 ** (SCALE_STD * numbers.normal()), 1.0, probability, numbers)
    turning = (
        1 - (1 - torch.as_tensor(probability, dtype=torch.float64)).sqrt()
    )  # applied twice, together with probability p
    before = _sometimes((2 * numbers.uniform() - 1) * math.pi, 0.0, turning, numbers)
    stretch = _sometimes(2 ** (SCALE_STD * numbers.normal()), 1.0, probability, numbers)
    after = _sometimes((2 * numbers.uniform() - 1) * math.pi, 0.0, turning, numbers)
    move = _sometimes(TRANSLATION_STD * numbers.normal(2), 0.0, probability, numbers)
    linear = (
        scaling(flip, torch.ones_like(flip))
        @ rotation(turns)
        @ scaling(scale, scale)
        @ rotation(before)
        @ scaling(stretch, 1 / stretch)
        @ rotation(after)
    )
    return torch.cat([linear, (2 * (whole + move)).unsqueeze(2)], dim=2)  # the side is two half sides


def colour(images: Tensor, probability: float | Tensor, numbers: NumberSource) -> Tensor:
    """Change brightness and contrast, invert the luma, and, of colour images, turn the hue and scale the saturation.

    Args:
        images: [B, C, H, W].
        probability: p, a scalar.

    Returns:
        [B, C, H, W].
    """
    probability = torch.as_tensor(probability, dtype=torch.float32)
    brightness = _sometimes(BRIGHTNESS_STD * numbers.normal(), 0.0, probability, numbers)
    contrast = _sometimes(2 ** (CONTRAST_STD * numbers.normal()), 1.0, probability, numbers)
    luma = _sometimes(2 * (numbers.uniform() < 1 / 2).float() - 1, 1.0, probability, numbers)
    hue = _sometimes((2 * numbers.uniform() - 1) * math.pi, 0.0, probability, numbers)
    saturation = _sometimes(2 ** (SATURATION_STD * numbers.normal()), 1.0, probability, numbers)

    def each(values: Tensor) -> Tensor:
        return values[:, :, None, None]

    images = (images + each(brightness)) * each(contrast)
    grey = images.mean(1, keepdim=True)
    if images.shape[1] != COLOURS:
        return images + (each(luma) - 1) * grey
    chroma = images - grey
    # A rotation about the grey axis (1, 1, 1)/sqrt(3): Rodrigues' formula, whose axial part the luma already is.
    turned = chroma.roll(1, 1) - chroma.roll(2, 1)  # the cross product with the axis, times sqrt(3)
    chroma = each(hue.cos()) * chroma + each(hue.sin()) / math.sqrt(COLOURS) * turned
    return each(luma) * grey + each(saturation) * chroma


def _sometimes(values: Tensor, neutral: float, probability: Tensor, numbers: NumberSource) -> Tensor:
    """Values [B, K] with probability p, and the neutral one otherwise."""
    return torch.where(numbers.uniform() < probability, values, neutral)
