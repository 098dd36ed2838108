"""Where each step's batch comes from: real images in shuffled order, and latents.

A draw is a function of (seed, number of the draw) and of nothing that happened before: every stream of random numbers
is a part of one counter-based generator (Philox), addressed directly. So the position in the data is a plain integer,
resuming needs no replay, and several processes draw the same global batch and each keep their own part of it.

Shapes: B batch, Z latent, C H W channels, height and width.

References:
    Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3 (2011).
"""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from training.data.image_data import ImageData
from training.data.pixels import to_floats

ORDER, FLIPS, LATENTS, GRID, EXPORT = range(5)  # streams of one seed; a new one goes to the end
DEVICE_SHARE: Final = 0.25  # of the free memory: at most this goes to the data, the rest is the networks'


def random_stream(seed: int, stream: int, draw: int) -> np.random.Generator:
    """The random numbers of one draw.

    Args:
        seed: of the run.
        stream: what for.
        draw: which one.

    Returns:
        A generator that shares no number with any other draw, stream or seed (for 2^66 words each).
    """
    return np.random.Generator(np.random.Philox(key=seed, counter=(draw << 64) + (stream << 128)))


def latents(seed: int, stream: int, draw: int, count: int, latent_size: int) -> Tensor:
    """Draw latents from the standard normal prior.

    Args:
        seed: of the run.
        stream: what for.
        draw: which one.
        count: how many.
        latent_size: Z.

    Returns:
        [count, Z] float32, on the CPU.
    """
    return torch.from_numpy(random_stream(seed, stream, draw).standard_normal((count, latent_size), dtype=np.float32))


class BatchStream:
    """The batches of a run.

    Args:
        data: the images; the whole training part goes to the device as bytes where there is room.
        device: where batches are wanted.
        seed: of the run.
        batch_size: B, of all processes together.
        latent_size: Z.
        horizontal_flips: mirror each real image with probability 1/2.
        part: which samples of each batch this process works on.
    """

    def __init__(
        self,
        data: ImageData,
        device: torch.device,
        *,
        seed: int,
        batch_size: int,
        latent_size: int,
        horizontal_flips: bool = False,
        part: slice = slice(None),
    ) -> None:
        fits = device.type != "cuda" or data.train.nbytes < DEVICE_SHARE * torch.cuda.mem_get_info(device)[0]
        self._images = torch.from_numpy(data.train.copy()).to(device if fits else "cpu")
        self._labels = None if data.train_labels is None else torch.from_numpy(data.train_labels.copy())
        self._device = device
        self._seed = seed
        self._batch_size = batch_size
        self._latent_size = latent_size
        self._horizontal_flips = horizontal_flips
        self._part = part
        self._epoch_order = (-1, np.empty(0, np.int64))

    def real(self, draw: int) -> tuple[Tensor, Tensor | None]:
        """Real images; each is drawn once an epoch, and a batch may end one epoch and begin the next.

        Args:
            draw: number of the batch, from 0.

        Returns:
            This process's part of the images [B, C, H, W] in [-1, 1], and of their labels [B] or None.
        """
        positions = np.arange(draw * self._batch_size, (draw + 1) * self._batch_size)[self._part]
        chosen = torch.from_numpy(np.array([self._row(int(position)) for position in positions]))
        images = to_floats(self._images[chosen.to(self._images.device)].to(self._device))
        if self._horizontal_flips:
            mirrored = torch.from_numpy(random_stream(self._seed, FLIPS, draw).random(self._batch_size) < 1 / 2)
            mirrored = mirrored[self._part].to(self._device)
            images = torch.where(mirrored[:, None, None, None], images.flip(3), images)
        return images, None if self._labels is None else self._labels[chosen].to(self._device)

    def latents(self, draw: int) -> Tensor:
        """Latents from the prior.

        Args:
            draw: number of the batch, from 0.

        Returns:
            This process's part of the latents [B, Z].
        """
        return latents(self._seed, LATENTS, draw, self._batch_size, self._latent_size)[self._part].to(self._device)

    def _row(self, position: int) -> int:
        """Which image is drawn at a position of the endless shuffled sequence."""
        epoch, place = divmod(position, len(self._images))
        if self._epoch_order[0] != epoch:
            self._epoch_order = (epoch, random_stream(self._seed, ORDER, epoch).permutation(len(self._images)))
        return int(self._epoch_order[1][place])
