"""The batches of a run: real samples in shuffled order, their labels, latents and codes.

A draw is a function of (seed, number of the draw) and of nothing before it: every stream of random numbers is a part of
one counter-based generator (Philox), addressed directly. So the position in the data is a plain integer, resuming needs
no replay, and several processes draw the same global batch and each keep their own part of it.

Shapes: B batch, Z latent, ... one sample ([C, H, W] of an image).

References:
    Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

from typing import Final, assert_never

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import one_hot

from training.codes import Codes
from training.data.image_data import Dataset
from training.data.pixels import tensor, to_floats
from training.networks.base import GeneratorKeys, Prior

# Streams of one seed; a new one goes to the end.
ORDER, FLIPS, LATENTS, GRID, EXPORT, EXPORT_LABELS, AUGMENTATION, CODES, GRID_CODES, EXPORT_CODES = range(10)
PROBE, WARPS, BETWEEN = 10, 11, 12
DEVICE_SHARE: Final = 0.25  # of the free memory: at most this is used for the data, the rest for the networks


def random_stream(seed: int, stream: int, draw: int) -> np.random.Generator:
    """Return the generator of one draw.

    Returns:
        A generator that shares no number with any other draw, stream or seed (for 2^66 words each).
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=(draw << 64) + (stream << 128)))


def latents(
    seed: int, stream: int, draw: int, count: int, latent_size: int, prior: Prior = "standard_normal"
) -> Tensor:
    """Draw latents from a prior.

    Args:
        latent_size: Z.
        prior: standard normal, uniform on (-1, 1), or standard Gumbel.

    Returns:
        [count, Z] float32, on the CPU.
    """
    numbers, shape = random_stream(seed, stream, draw), (count, latent_size)
    match prior:
        case "standard_normal":
            values = numbers.standard_normal(shape, dtype=np.float32)
        case "uniform":
            values = 2 * numbers.random(shape, dtype=np.float32) - 1
        case "gumbel":
            # Minus the logarithm of an exponential number: faster than NumPy's `gumbel`, in single precision.
            waits = numbers.standard_exponential(shape, dtype=np.float32)
            values = -np.log(np.maximum(waits, np.finfo(np.float32).tiny))
        case _:
            assert_never(prior)
    return torch.from_numpy(values)


def labels(seed: int, stream: int, draw: int, count: int, classes: int) -> Tensor:
    """Draw labels, all classes equally likely.

    Args:
        classes: K.

    Returns:
        [count] int64 below K, on the CPU.
    """
    return torch.from_numpy(random_stream(seed, stream, draw).integers(classes, size=count))


def codes(seed: int, stream: int, draw: int, count: int, which: Codes) -> Tensor:
    """Draw codes from their prior.

    Every category occurs equally often, except for a remainder with random categories: each single code is uniform, and
    no batch lacks a category.

    Args:
        which: the codes, K of them by their width.

    Returns:
        [count, K] float32, on the CPU.
    """
    numbers = random_stream(seed, stream, draw)
    parts = []
    for size in which.sizes:
        dealt = (np.arange(count) + numbers.integers(size)) % size
        parts.append(one_hot(torch.from_numpy(numbers.permutation(dealt)), size).float())
    for low, high in which.intervals:
        parts.append(torch.from_numpy(numbers.uniform(low, high, (count, 1)).astype(np.float32)))
    return torch.cat(parts, dim=1)


class BatchStream:
    """The batches of a run.

    Args:
        data: the samples; the whole training part goes to the device as bytes where there is room.
        batch_size: B, of all processes together.
        generator: its latent size and prior.
        horizontal_flips: mirror each real image with probability 1/2.
        part: which samples of each batch this process works on.
    """

    def __init__(
        self,
        data: Dataset,
        device: torch.device,
        *,
        seed: int,
        batch_size: int,
        generator: GeneratorKeys,
        horizontal_flips: bool = False,
        part: slice = slice(None),
    ) -> None:
        fits = device.type != "cuda" or data.train.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
        self._samples = tensor(data.train).to(device if fits else "cpu")
        labelled = data.train_labels
        self._labels = None if labelled is None else torch.from_numpy(labelled.copy()).to(device)
        self._device = device
        self._seed = seed
        self._batch_size = batch_size
        self._generator = generator
        self._horizontal_flips = horizontal_flips
        self._part = part
        self._since = 0
        self._epoch_order = (-1, np.empty(0, np.int64))

    def count_from(self, position: int) -> None:
        """Begin a new epoch at a position in the run's real samples, where other data than this ended."""
        self._since = position

    def real(self, draw: int) -> tuple[Tensor, Tensor | None]:
        """Real samples; each is drawn once an epoch, and a batch may end one epoch and begin the next.

        Args:
            draw: number of the batch, from 0.

        Returns:
            This process's part of the samples [B, ...], images in [-1, 1], and of their labels [B] or None.
        """
        rows, mirrored = self.rows(draw), self.mirrored(draw) if self._horizontal_flips else None
        return self.decoded(self.stored(rows), mirrored), None if self._labels is None else self.labels_of(rows)

    @property
    def on_device(self) -> bool:
        """Whether the samples are where the networks are; else the CPU holds them."""
        return self._samples.device.type == self._device.type

    @property
    def horizontal_flips(self) -> bool:
        """Whether samples are mirrored."""
        return self._horizontal_flips

    def rows(self, draw: int) -> Tensor:
        """Which samples a batch has, this process's part of it.

        Args:
            draw: number of the batch, from 0.

        Returns:
            [b] int64, on the CPU.
        """
        positions = np.arange(draw * self._batch_size, (draw + 1) * self._batch_size)[self._part] - self._since
        epochs, places = np.divmod(positions, len(self._samples))
        epochs += self._since  # numbers that no epoch of former data had, as there were fewer epochs than samples
        chosen = np.empty_like(positions)
        for epoch in np.unique(epochs):
            inside = epochs == epoch
            chosen[inside] = self._order(int(epoch))[places[inside]]
        return torch.from_numpy(chosen)

    def mirrored(self, draw: int) -> Tensor:
        """Which samples of a batch are mirrored where `horizontal_flips` are on, [b] bool, on the CPU."""
        chance = random_stream(self._seed, FLIPS, draw).random(self._batch_size)
        return torch.from_numpy(chance < 1 / 2)[self._part]

    def stored(self, rows: Tensor) -> Tensor:
        """Samples [b, ...] as they are stored, where they are stored."""
        return self._samples[rows.to(self._samples.device)]

    def decoded(self, stored: Tensor, mirrored: Tensor | None) -> Tensor:
        """Stored samples as the networks see them, on their device.

        Args:
            stored: [b, ...].
            mirrored: [b] bool, or None for none.

        Returns:
            [b, ...], images in [-1, 1].
        """
        samples = stored.to(self._device)
        if samples.dtype == torch.uint8:
            samples = to_floats(samples)
        if mirrored is not None:
            samples = torch.where(mirrored.to(self._device)[:, None, None, None], samples.flip(3), samples)
        return samples

    def labels_of(self, rows: Tensor) -> Tensor:
        """Labels [b] of samples, on the networks' device.

        Raises:
            ValueError: if the data has none.
        """
        if self._labels is None:
            raise ValueError("the data has no labels")
        return self._labels[rows.to(self._device)]

    def latents(self, draw: int) -> Tensor:
        """Latents from the prior.

        Args:
            draw: number of the batch, from 0.

        Returns:
            This process's part of the latents [B, Z].
        """
        return self.drawn_latents(draw).to(self._device)

    def drawn_latents(self, draw: int) -> Tensor:
        """The same, on the CPU."""
        keys = self._generator
        drawn = latents(self._seed, LATENTS, draw, self._batch_size, keys.latent_size, keys.prior)
        return drawn[self._part]

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The shuffled samples of an epoch."""
        if self._epoch_order[0] != epoch:
            self._epoch_order = (epoch, random_stream(self._seed, ORDER, epoch).permutation(len(self._samples)))
        return self._epoch_order[1]
